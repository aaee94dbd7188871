// Each script asks `salvage completion SHELL -- WORD…` what could stand at the cursor. The answer: a line that says `files`,
// `folders` or `words`, then a line VALUE<tab>DESCRIPTION for each word.

const bash = `# bash completion for salvage. In ~/.bashrc:  source <(salvage completion bash)
_salvage() {
  # bash cuts words at "=" and ":"; what no space divides is put together again.
  local rest=\${COMP_LINE:0:COMP_POINT} word words=()
  for word in "\${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
    if ((\${#words[@]} > 0)) && [[ $rest != [[:space:]]* && -n $rest ]]; then words[-1]+=$word; else words+=("$word"); fi
    rest=\${rest#"\${rest%%[![:space:]]*}"}
    rest=\${rest#"$word"}
  done
  local last=\${COMP_WORDS[COMP_CWORD]}
  [[ $last == [=:] ]] && last=
  local glued=\${words[-1]%"$last"} lines line value
  mapfile -t lines < <("\${words[0]/#\\~/$HOME}" completion bash -- "\${words[@]:1}" 2>/dev/null)
  COMPREPLY=()
  case \${lines[0]-} in
    files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$last") ;;
    folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$last") ;;
    words)
      for line in "\${lines[@]:1}"; do
        value=\${line%%$'\\t'*}
        printf -v value %q "\${value#"$glued"}"
        COMPREPLY+=("$value")
      done ;;
  esac
}
complete -F _salvage salvage
`;

const zsh = `#compdef salvage
# zsh completion for salvage. In ~/.zshrc, after compinit:  source <(salvage completion zsh)
_salvage() {
  local -a lines candidates
  local line value
  lines=("\${(@f)$("\${words[1]/#\\~/$HOME}" completion zsh -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  case $lines[1] in
    files) [[ $PREFIX == --*=* ]] && compset -P '*='; _files ;;
    folders) [[ $PREFIX == --*=* ]] && compset -P '*='; _files -/ ;;
    words)
      for line in "\${(@)lines[2,-1]}"; do
        value=\${line%%$'\\t'*}
        candidates+=("\${value//:/\\\\:}:\${line#*$'\\t'}")
      done
      _describe -V salvage candidates ;;
  esac
}
if [[ \${funcstack[1]-} == _salvage ]]; then _salvage "$@"; else compdef _salvage salvage; fi
`;

const fish = `# fish completion for salvage:  salvage completion fish > ~/.config/fish/completions/salvage.fish
function __salvage_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines (command $words[1] completion fish -- $words[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case folders
            __fish_complete_directories "$current" ''
        case words
            printf '%s\\n' $lines[2..-1]
    end
end
complete -c salvage -f -a '(__salvage_complete)'
`;

export const completionScripts: Readonly<Record<string, string>> = { bash, zsh, fish };
