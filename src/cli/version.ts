/** The version of package.json; a test keeps the two equal. In a file of its own because `--version` loads nothing else. */
export const version = '0.1.0';
