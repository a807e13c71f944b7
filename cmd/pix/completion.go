package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// shells are the shells with completion scripts.
var shells = []string{"bash", "zsh", "fish"}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a shell completion script",
		Long: `Print a script with which a shell completes the arguments of pix: verbs, flags and their values,
files, and the paths of the store that the flags before them name. SHELL is bash, zsh or fish. To
install it, put it where the shell looks for it:

  pix completion bash > ~/.local/share/bash-completion/completions/pix
  pix completion zsh > ~/.zfunc/_pix   # in fpath, before compinit
  pix completion fish > ~/.config/fish/completions/pix.fish

If very many paths match, only their common prefixes are completed.`,
		Example:   "  source <(pix completion bash)",
		GroupID:   groupOther,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), knownShell),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				var script strings.Builder
				if err := root.GenBashCompletionV2(&script, true); err != nil {
					return err
				}
				return a.print(withoutBashCompletion(script.String(), programName(root.Name())))
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			default:
				return root.GenFishCompletion(a.stdout, true)
			}
		},
	}
}

// knownShell returns an error if there is no script for the shell.
func knownShell(_ *cobra.Command, args []string) error {
	if !slices.Contains(shells, args[0]) {
		return fmt.Errorf("there is no script for the shell '%s', only for bash, zsh and fish", args[0])
	}
	return nil
}

// programName returns how a script runs this program: by its name if that is a command, so that the script also works on other
// machines, and otherwise by its file.
func programName(name string) string {
	if _, err := exec.LookPath(name); err == nil {
		return name
	}
	if file, err := os.Executable(); err == nil {
		return file
	}
	return name
}

// withoutBashCompletion returns the script for bash without its need for the package bash-completion: if the function of the
// package is missing, the words of the line are split at spaces. The script runs this program if the first word is no command,
// such as a program that was started by its path.
func withoutBashCompletion(script, program string) string {
	const call = "    _get_comp_words_by_ref \"$@\" cur prev words cword\n"
	return strings.Replace(script, call, `    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref "$@" cur prev words cword
        return
    fi
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    if [[ $line == *[[:space:]] ]]; then words+=(""); fi
    cword=$((${#words[@]} - 1)) cur=${words[cword]} prev=
    if ((cword > 0)); then prev=${words[cword - 1]}; fi
    if ! type -P -- "${words[0]}" >/dev/null; then words[0]=`+"'"+strings.ReplaceAll(program, "'", `'\''`)+"'"+`; fi
`, 1)
}

// A completionWriter removes back quotes from descriptions in the answers to a shell. In the help they mark the word for the
// value of a flag.
type completionWriter struct {
	w    io.Writer
	line []byte
}

func (c *completionWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		c.line, rest = append(c.line, line...), after
		if !ended {
			break
		}
		word, description, _ := bytes.Cut(c.line, []byte("\t"))
		text := string(word)
		if len(description) > 0 {
			text += "\t" + strings.ReplaceAll(string(description), "`", "")
		}
		c.line = c.line[:0]
		if _, err := io.WriteString(c.w, text+"\n"); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
