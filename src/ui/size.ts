const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** Three significant digits with a binary unit: 0 B, 999 B, 1.00 KiB, 12.3 MiB, 123 GiB. */
export function formatSize(sizeBytes: number | bigint): string {
  let value = Number(sizeBytes);
  let unit = 0;
  // 999.5 would print as 1000: the next unit says it in three digits.
  while (value >= (unit === 0 ? 1000 : 999.5) && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return `${value} B`;
  return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${units[unit]}`;
}

/** Bytes per second with a binary unit. */
export function formatRate(bytesPerSecond: number): string {
  return `${formatSize(Math.round(bytesPerSecond))}/s`;
}
