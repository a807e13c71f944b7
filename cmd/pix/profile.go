package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pix"
	"pix/internal/redact"
	"pix/localstore"
	"pix/profile"
	"pix/store"
	"pix/storepath"
)

func newProfile(a *app) *cobra.Command {
	o := new(profileOptions)
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "List, switch and clean the generations of profiles",
		Long: `List, switch and clean the generations of profiles. A profile is a symlink, such as
~/.nix-profile, that points to one of its generations: the symlinks NAME-1-link, NAME-2-link and
so on beside it, which keep the paths to which they point from being collected. nix-env and 'nix
profile' use the same files.

The profile is --profile LINK, then $NIX_PROFILE, then ~/.nix-profile ($XDG_STATE_HOME/nix/profile
with the setting use-xdg-base-directories). A store in a directory has its own:
profiles/per-user/USER/profile in its state directory. pix does not install packages: 'profile
set' makes a path the next generation.`,
		Example: "  pix profile history\n  pix profile rollback\n  pix profile set --profile ./system /nix/store/...-system",
		GroupID: groupKeeping,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := profileHint(cmd, args[0])
			return wrongUse(hintedVerb(cmd, hint), fmt.Errorf("unknown command %q%s", args[0], hint))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, verb := range []*cobra.Command{
		newProfileList(a, o),
		newProfileHistory(a, o),
		newProfileSet(a, o),
		newProfileSwitch(a, o),
		newProfileRollback(a, o),
		newProfileDiff(a, o),
		newProfileDelete(a, o),
		newProfileWipe(a, o),
	} {
		checkUsage(verb)
		verb.Flags().StringVarP(&o.link, "profile", "p", "", "use the profile whose symlink is `LINK`")
		if verb.ValidArgsFunction == nil {
			verb.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.AddCommand(verb)
	}
	return cmd
}

// profileHints are answers to the words that 'nix profile' and nix-env have for what pix does otherwise, or not at all.
var profileHints = map[string]string{
	"install": cannotInstall, "add": cannotInstall, "remove": cannotInstall, "upgrade": cannotInstall, "uninstall": cannotInstall,
	"list-generations": ", did you mean 'pix profile history'?", "switch-profile": "; name the profile with --profile",
	"query": ", did you mean 'pix profile list'?", "packages": ", did you mean 'pix profile list'?",
	"gc": ", did you mean 'pix gc --delete-old'?", "collect-garbage": ", did you mean 'pix gc --delete-old'?",
}

const cannotInstall = "; pix does not put packages together into a profile, 'pix profile set PATH' makes a path the next generation"

func profileHint(cmd *cobra.Command, word string) string {
	if hint, ok := profileHints[strings.TrimLeft(word, "-")]; ok {
		return hint
	}
	cmd.SuggestionsMinimumDistance = 2
	if like := cmd.SuggestionsFor(word); len(like) > 0 {
		return ", did you mean " + strings.Join(like, " or ") + "?"
	}
	return ""
}

// profileOptions are the flags that all verbs about one profile have.
type profileOptions struct{ link string }

// profile returns the profile that the flags and the environment name.
func (a *app) profile(ctx context.Context, o *profileOptions) (*profile.Profile, error) {
	dir, err := a.dir()
	if err != nil {
		return nil, err
	}
	if link := cmp.Or(o.link, a.getenv("NIX_PROFILE")); link != "" {
		p, err := profile.Resolve(dir, link)
		return p, asUsage(err)
	}
	l, err := a.locations(ctx)
	if err != nil {
		return nil, err
	}
	p, err := l.Default(dir)
	return p, asUsage(err)
}

// asUsage makes a usage error of the error that a file cannot be a profile.
func asUsage(err error) error {
	if _, ok := errors.AsType[*profile.LinkError](err); ok {
		return &usageError{err}
	}
	return err
}

// locations returns where the profiles of this user are, on the machine or in a store in another directory.
func (a *app) locations(ctx context.Context) (*profile.Locations, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	r := conf.Reader()
	l := &profile.Locations{
		StateDir: cmp.Or(a.getenv("NIX_STATE_DIR"), "/nix/var/nix"),
		Home:     a.getenv("HOME"),
		Root:     os.Geteuid() == 0,
		User:     a.userName(),
		XDG:      r.Bool("use-xdg-base-directories"),
	}
	if err := r.Err(); err != nil {
		return nil, &usageError{err}
	}
	state := cmp.Or(a.getenv("XDG_STATE_HOME"), filepath.Join(l.Home, ".local/state"))
	l.StateHome = cmp.Or(a.getenv("NIX_STATE_HOME"), filepath.Join(state, "nix"))
	own, err := a.ownStateDir(ctx)
	if err == nil && own != "" && own != filepath.Clean(l.StateDir) {
		l.StateDir, l.Home = own, ""
	}
	return l, err
}

// ownStateDir returns the state directory of the chosen store if it is a store in a directory, and otherwise "". It opens no
// other store, so that a user can roll back without a daemon.
func (a *app) ownStateDir(ctx context.Context) (string, error) {
	choice, err := a.choose(openOptions{access: toRead})
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(choice.uri, "ssh-ng://"):
		return "", &unknownError{fmt.Errorf("the store %s is on another machine, and profiles are symlinks there: run pix there, or name a profile with --profile", redact.URL(choice.uri))}
	case !pix.IsLocal(choice.uri):
		return "", nil
	}
	s, err := a.openChosen(ctx, choice)
	if none, ok := errors.AsType[*localstore.NoStoreError](err); ok {
		return none.Info.StateDir, nil
	}
	if err != nil {
		return "", err
	}
	defer s.Close()
	local, ok := store.As[*localstore.Store](s)
	if !ok {
		return "", nil
	}
	return local.Info().StateDir, nil
}

// userName returns the name of the user, or "".
func (a *app) userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return a.getenv("USER")
}

// parseGeneration parses the number of a generation.
func parseGeneration(word string) (uint64, error) {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return 0, &usageError{fmt.Errorf("'%s' is no number of a generation; 'pix profile history' lists them", word)}
	}
	return n, nil
}

// completeGenerations completes the numbers of the generations of the profile.
func (a *app) completeGenerations(o *profileOptions) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		quiet := *a
		quiet.stderr, quiet.progress = io.Discard, &progress{mode: progressNone}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		p, err := quiet.profile(ctx, o)
		if err != nil {
			return nil, noFiles
		}
		all, err := p.Generations(ctx)
		if err != nil || len(all) > maxCompletions {
			return nil, noFiles
		}
		var words []string
		for _, g := range all {
			if n := strconv.FormatUint(g.Number, 10); strings.HasPrefix(n, word) {
				words = append(words, n+"\t"+g.Created.Format("2006-01-02 15:04:05"))
			}
		}
		return words, noFiles | cobra.ShellCompDirectiveKeepOrder
	}
}

// contents returns the path of a generation. The error says what the symlink points to if that is not in the store.
func contents(g profile.Generation) (storepath.Path, error) {
	if g.Path == "" {
		return "", fmt.Errorf("generation %d points to '%s', which is not in the store", g.Number, g.Target)
	}
	return g.Path, nil
}
