package main

import (
	"github.com/spf13/cobra"
)

// shells are those that completions can be made for.
var shells = []string{"bash", "zsh", "fish"}

func newCompletion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what makes a shell complete the words of pix",
		Long: `Print what makes a shell complete the words of pix: verbs, flags and their values, files, and
the paths of the store that the flags before them name. SHELL is bash (with the package
bash-completion), zsh or fish. To have it always, put it where the shell looks for it:

  pix completion bash > ~/.local/share/bash-completion/completions/pix
  pix completion zsh > ~/.zfunc/_pix      # with ~/.zfunc in fpath, before compinit
  pix completion fish > ~/.config/fish/completions/pix.fish

Where a store has very many paths, completing an empty word gives only what they begin with.`,
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
