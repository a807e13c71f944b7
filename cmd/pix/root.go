package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pix/daemon"
	"pix/storepath"
)

// An app is what the verbs share: the streams, the environment, the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	storeURI string // --store
	storeDir string // --store-dir

	resolved string // the URI of the store that was opened last
	reason   string // why it is that one; "" if it was named

	conf *configured // nix.conf; made by newRoot where it is nil
	verb string      // the name of the verb that runs

	serves   bool // a store is opened for others, who have settings of their own
	isDaemon bool // we are the daemon of this machine, and do not ask it

	settings *daemon.Settings // for the daemon, where a verb wants others than its own

	traceFile   string    // --trace
	traceBodies bool      // --trace-bodies
	trace       io.Writer // the file, once it is open

	progress *progress // --progress, --print-build-logs; made by newRoot where it is nil
}

// The groups of verbs in the help.
const (
	groupFiles       = "files"
	groupArchives    = "archives"
	groupKeys        = "keys"
	groupDerivations = "derivations"
	groupStore       = "store"
	groupKeeping     = "keeping"
	groupOther       = "other"
)

func newRoot(a *app) *cobra.Command {
	if a.progress == nil {
		a.progress = new(progress)
	}
	if a.conf == nil {
		a.conf = new(configured)
	}
	var version bool
	root := &cobra.Command{
		Use:   "pix",
		Short: "Work on Nix stores",
		Long: `pix works on Nix stores: it speaks to a Nix daemon in its own language, and needs no
nix command. Where there is no Nix, it has a store of its own.

Results go to standard output and nothing else does. Exit codes: 0 yes or done, 1 no or
failed, 2 called wrongly, 3 could not be found out (no store, connection lost),
130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchVerb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return a.printVersion(false)
			}
			return cmd.Help()
		},

		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.verb = cmd.Name()
			return a.checkProgress()
		},
	}
	// Not cobra's own flag: what it prints would need a template, and a linker that finds one
	// in a program keeps every method of every type.
	root.Flags().BoolVarP(&version, "version", "v", false, "print which pix this is")
	flags := root.PersistentFlags()
	flags.StringVar(&a.storeURI, "store", "", "the `URI` of the store: auto, daemon, local, /DIR, ./DIR, unix://PATH, ssh-ng://HOST, file://DIR or https://HOST (default $PIX_STORE, then store in nix.conf, then $NIX_REMOTE)")
	flags.StringVar(&a.storeDir, "store-dir", "", "the store `directory` (default $NIX_STORE_DIR, then "+string(storepath.DefaultDir)+")")
	flags.StringVar(&a.traceFile, "trace", "", "write what is said to daemons, and by them, to this `file`")
	flags.BoolVar(&a.traceBodies, "trace-bodies", false, "with --trace: write contents and log lines in full, so that a test can replay the file")
	completeFlag(root, "store", completeURIs)
	completeFlag(root, "store-dir", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	flags.Var(&a.progress.mode, "progress", "`what` to show on standard error: auto (live on a terminal), live, plain (log lines) or none (default $PIX_PROGRESS, then auto)")
	flags.BoolVarP(&a.progress.logs, "print-build-logs", "L", false, "in the live view, also print the lines of build logs")
	valuesOf(root, "progress", "auto", "live", "plain", "none")
	root.AddGroup(
		&cobra.Group{ID: groupFiles, Title: "Files:"},
		&cobra.Group{ID: groupArchives, Title: "Archives:"},
		&cobra.Group{ID: groupDerivations, Title: "Derivations:"},
		&cobra.Group{ID: groupStore, Title: "Store:"},
		&cobra.Group{ID: groupKeeping, Title: "Keeping the store:"},
		&cobra.Group{ID: groupKeys, Title: "Keys and signatures:"},
		&cobra.Group{ID: groupOther, Title: "About pix:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.CompletionOptions.DisableDefaultCmd = true // ours says how to install it
	for _, verb := range []*cobra.Command{
		newHashPath(a),
		newHashFile(a),
		newHashConvert(a),
		newStorePath(a),
		newNARDump(a),
		newNARRestore(a),
		newNARLs(a),
		newNARCat(a),
		newDrvShow(a),
		newDrvVerify(a),
		newDrvDiff(a),
		newDrvHash(a),
		newDrvAdd(a),
		newPathInfo(a),
		newIsValid(a),
		newAddText(a),
		newBuild(a),
		newDaemonInfo(a),
		newValidPaths(a),
		newClosure(a),
		newReferrers(a),
		newDerivers(a),
		newOutputs(a),
		newSubstitutable(a),
		newTree(a),
		newWhyDepends(a),
		newGraph(a),
		newDiff(a),
		newDump(a),
		newLs(a),
		newCat(a),
		newCopy(a),
		newMakeContentAddressed(a),
		newAdd(a),
		newRoots(a),
		newGC(a),
		newVerifyStore(a),
		newOptimise(a),
		newDaemon(a),
		newExport(a),
		newImport(a),
		newAddRoot(a),
		newKeyGenerate(a),
		newKeyPublic(a),
		newNARInfoSign(a),
		newNARInfoVerify(a),
		newSign(a),
		newLog(a),
		newConfig(a),
		newVersion(a),
		newCompletion(a),
		newMan(a),
		newEnvironment(),
	} {
		checkUsage(verb)
		if words, _ := argumentWords(verb.Use); len(words) == 0 {
			verb.ValidArgsFunction = cobra.NoFileCompletions
		}
		root.AddCommand(verb)
	}
	root.SetFlagErrorFunc(wrongFlag)
	checkHelp(root)
	return root
}

// checkHelp makes help refuse what it has nothing about, instead of helping with everything.
func checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Args = func(_ *cobra.Command, args []string) error {
		if found, _, err := root.Find(args); err != nil || found == root {
			return noSuchVerb(root, args)
		}
		return nil
	}
}

// noSuchVerb refuses what is no verb, and names those that were perhaps meant.
func noSuchVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if cmd.SuggestionsMinimumDistance == 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		err = fmt.Errorf("%w, did you mean %s?", err, strings.Join(like, " or "))
	}
	return wrongUse(cmd, err)
}

// checkUsage makes what is wrong with flags and arguments a [usageError].
func checkUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(wrongFlag)
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return wrongArguments(cmd, given, err)
			}
			return nil
		}
	}
}

// wrongFlag returns a usage error for a flag. The errors of package strconv and of
// time.ParseDuration name functions of Go, so it replaces them by what the flag expects.
func wrongFlag(cmd *cobra.Command, err error) error {
	cause := errors.Unwrap(err)
	if cause == nil {
		return wrongUse(cmd, err)
	}
	reason := ""
	var number *strconv.NumError
	switch {
	case errors.Is(cause, strconv.ErrRange):
		reason = "it is out of range"
	case errors.As(cause, &number) && number.Func == "ParseBool":
		reason = "expected true or false"
	case errors.As(cause, &number) && number.Func == "ParseUint":
		reason = "expected a whole number that is not negative"
	case errors.As(cause, &number):
		reason = "expected a whole number"
	case strings.HasPrefix(cause.Error(), "time: "):
		reason = "expected a duration such as 30s or 5m"
	default:
		return wrongUse(cmd, err)
	}
	return wrongUse(cmd, errors.New(strings.TrimSuffix(err.Error(), cause.Error())+reason))
}

func wrongUse(cmd *cobra.Command, err error) error {
	return &usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
}
