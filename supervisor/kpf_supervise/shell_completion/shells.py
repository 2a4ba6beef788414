"""Completion in bash, zsh and fish, for kpfctl and kpf-supervise alike.

click has scripts of its own. Ours also complete words with a colon in them (8080:http, or a context of EKS), words in
quotes and --option=VALUE, find a program that was typed with its path, and need no `compinit` in zsh.

Each script passes the command line up to the cursor in $COMP_LINE. The program answers with lines of TYPE, VALUE and
DESCRIPTION, separated by tabs; the types are those of click.
"""

from __future__ import annotations

import os
import re
import shlex

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

PROGRAMS = {"kpfctl": "_KPFCTL_COMPLETE", "kpf-supervise": "_KPF_SUPERVISE_COMPLETE"}  # each with its variable of click
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

_BASH = r"""
_kpf_complete() {
    local line=${COMP_LINE:0:COMP_POINT} option="" current cut="" kind value
    current=${line##*[[:space:]]}
    if [[ $current == --*=* ]]; then  # a = breaks words, unless somebody has changed that
        [[ $COMP_WORDBREAKS == *=* ]] || option=${current%%=*}=
        current=${current#*=}
    fi
    [[ $COMP_WORDBREAKS == *:* && $current == *:* ]] && cut=${current%"${current##*:}"}
    COMPREPLY=()
    while IFS=$'\t' read -r kind value _; do
        case $kind in
            file) compopt -o default 2>/dev/null; return ;;
            dir) compopt -o dirnames 2>/dev/null; return ;;
            plain)
                [[ $current == [\"\']* ]] || printf -v value %q "$value"
                COMPREPLY+=("$option${value#"$cut"}")
                ;;
        esac
    done < <(COMP_LINE=$line VARIABLES "${1/#\~/$HOME}" 2>/dev/null)
}
complete -o nosort -F _kpf_complete PROGRAMS 2>/dev/null || complete -F _kpf_complete PROGRAMS
"""

_ZSH = r"""#compdef PROGRAMS
_kpf_complete() {
    local each
    local -a parts described
    for each in "${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" VARIABLES ${~words[1]} 2>/dev/null)}"; do
        parts=("${(@ps:\t:)each}")
        case $parts[1] in
            file) _files; return ;;
            dir) _files -/; return ;;
            plain) described+=("${parts[2]//:/\\:}${parts[3]:+:$parts[3]}") ;;
        esac
    done
    (( $#described )) || return 1
    [[ $PREFIX == --*=* ]] && compset -P '*='
    _describe -V completion described
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _kpf_complete "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef _kpf_complete PROGRAMS
fi
"""

_FISH = r"""
function __kpf_complete
    set -l line (commandline -cp)
    set -l token (commandline -ct)
    set -l option (string match -r -- '^--[^=]*=' $token)
    set -l program (string replace -r '^~' $HOME -- (commandline -opc)[1])
    for each in (env COMP_LINE="$line" VARIABLES $program 2>/dev/null)
        set -l parts (string split \t -- $each)
        switch $parts[1]
            case file
                __fish_complete_path $token
                return
            case dir
                __fish_complete_directories $token
                return
            case plain
                printf '%s%s\t%s\n' "$option" $parts[2] "$parts[3]"
        end
    end
end
for program in PROGRAMS
    complete --command $program --no-files --keep-order --arguments '(__kpf_complete)'
end
"""


def words_of(line: str) -> tuple[list[str], str]:
    """The arguments on a command line that are complete, and the one that is not (empty if none was begun)."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    open_end = bool(line) and not line[-1].isspace()
    try:
        words.extend(lexer)
    except ValueError:  # a quote is still open
        words.append(lexer.token)
        open_end = True
    last = words.pop() if words and open_end else ""
    while words and _ASSIGNMENT.match(words[0]):
        del words[0]
    return [os.path.expanduser(word) for word in words[1:]], last


class _Shell(ShellComplete):
    def source(self) -> str:
        variables = " ".join(f"{variable}={self.name}_complete" for variable in PROGRAMS.values())
        return self.source_template.replace("VARIABLES", variables).replace("PROGRAMS", " ".join(PROGRAMS)).lstrip()

    def get_completion_args(self) -> tuple[list[str], str]:
        return words_of(os.environ.get("COMP_LINE", ""))

    def format_completion(self, item: CompletionItem) -> str:
        return "\t".join([item.type, str(item.value), " ".join((item.help or "").split())])


@add_completion_class
class Bash(_Shell):
    name = "bash"
    source_template = _BASH


@add_completion_class
class Zsh(_Shell):
    name = "zsh"
    source_template = _ZSH


@add_completion_class
class Fish(_Shell):
    name = "fish"
    source_template = _FISH


SHELLS = {shell.name: shell for shell in (Bash, Zsh, Fish)}
