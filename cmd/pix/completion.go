package main

import (
	"github.com/spf13/cobra"
)

// shells are the shells with completion scripts.
var shells = []string{"bash", "zsh", "fish"}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a shell completion script",
		Long: `Print a script with which a shell completes the arguments of pix: verbs, flags and their values,
files, and the paths of the store that the flags before them name. SHELL is bash (with the package
bash-completion), zsh or fish. To install it, put it where the shell looks for it:

  pix completion bash > ~/.local/share/bash-completion/completions/pix
  pix completion zsh > ~/.zfunc/_pix      # with ~/.zfunc in fpath, before compinit
  pix completion fish > ~/.config/fish/completions/pix.fish

If very many paths match, only their common prefixes are completed.`,
		Example:   "  source <(pix completion bash)",
		GroupID:   groupOther,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			default:
				return root.GenFishCompletion(a.stdout, true)
			}
		},
	}
}
