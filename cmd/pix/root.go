package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pix/nixconf"
	"pix/storepath"
)

// An app holds what all verbs share: the streams, the environment and the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	flags    globalFlags
	color    colorMode // --color
	conf     *configuration
	trace    *traceFile
	progress *progress
	running  *runningProgram
}

// globalFlags are the flags that select a store, and set settings.
type globalFlags struct {
	storeURI string               // --store
	storeDir string               // --store-dir
	verbose  bool                 // --verbose
	options  []nixconf.Assignment // --option
}

// newApp returns the app of one run of the command.
func newApp(stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *app {
	return &app{
		stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv,
		conf: &configuration{ctx: context.Background()}, trace: new(traceFile), progress: new(progress),
		running: new(runningProgram),
	}
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

// newRoot returns the command pix with all verbs.
func newRoot(a *app) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "pix",
		Short: "Work on Nix stores",
		Long: `pix works on Nix stores. It uses the protocol of the Nix daemon, and needs no nix command. On a
machine without Nix it has a store of its own. 'pix docs' prints the documentation.

Only results go to standard output. Exit codes: 0 yes or done, 1 no or failed, 2 usage error,
3 could not be determined (no store, connection lost), 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchVerb,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return a.printVersion(false)
			}
			if a.flags.verbose {
				return wrongUse(cmd, errors.New("-v is for more messages of a verb; the version is printed by --version"))
			}
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkNotEmpty(cmd); err != nil {
				return wrongUse(cmd, err)
			}
			return a.checkProgress()
		},
	}
	root.Flags().BoolVar(&version, "version", false, "print the version of pix")
	a.addGlobalFlags(root)
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
	root.CompletionOptions.DisableDefaultCmd = true // the verb completion replaces it
	for _, verb := range newVerbs(a) {
		checkUsage(verb)
		if words, _ := argumentWords(verb.Use); len(words) == 0 {
			verb.ValidArgsFunction = cobra.NoFileCompletions
		}
		root.AddCommand(verb)
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.SetHelpFunc(printHelp)
	checkHelp(root)
	return root
}

func (a *app) addGlobalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.flags.storeURI, "store", "", "the `URI` of the store: auto, daemon, local, /DIR, ./DIR, unix://PATH, ssh-ng://HOST, file://DIR, https://HOST or s3://BUCKET (default $PIX_STORE, then store in nix.conf, then $NIX_REMOTE)")
	flags.StringVar(&a.flags.storeDir, "store-dir", "", "the store `directory` (default $NIX_STORE_DIR, then "+string(storepath.DefaultDir)+")")
	completeFlag(root, "store", completeURIs)
	completeFlag(root, "store-dir", completeDirs)
	flags.Var(optionFlag{&a.flags.options}, "option", "set a setting of nix.conf: `NAME VALUE`")
	freeValue(root, "option")
	flags.BoolVarP(&a.flags.verbose, "verbose", "v", false, "also print a line for the start of each download, copy and query")
	flags.BoolFuncP("quiet", "q", "print no messages and no progress, as --progress none", func(string) error {
		a.progress.mode = progressNone
		return nil
	})
	a.trace.addFlags(root)
	a.progress.addFlags(root)
	flags.Var(&a.color, "color", "`when` to print colours: auto (on a terminal, unless $NO_COLOR is set), always or never")
	valuesOf(root, "color", colorModes...)
}

// newVerbs returns the verbs, and the help topics.
func newVerbs(a *app) []*cobra.Command {
	return []*cobra.Command{
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
		newExplain(a),
		newDrvAdd(a),
		newPathInfo(a),
		newIsValid(a),
		newAddText(a),
		newBuild(a),
		newRun(a),
		newShell(a),
		newDaemonInfo(a),
		newValidPaths(a),
		newClosure(a),
		newReferrers(a),
		newDerivers(a),
		newOutputs(a),
		newSubstitutable(a),
		newBuildTrace(a),
		newTree(a),
		newWhyDepends(a),
		newGraph(a),
		newDiff(a),
		newView(a),
		newDump(a),
		newLs(a),
		newCat(a),
		newCopy(a),
		newPush(a),
		newMakeContentAddressed(a),
		newAdd(a),
		newPrefetch(a),
		newRoots(a),
		newGC(a),
		newVerifyStore(a),
		newDumpDB(a),
		newLoadDB(a),
		newOptimise(a),
		newDaemon(a),
		newMonitor(a),
		newServe(a),
		newDoctor(a),
		newExport(a),
		newImport(a),
		newAddRoot(a),
		newProfile(a),
		newKeyGenerate(a),
		newKeyPublic(a),
		newNARInfoSign(a),
		newNARInfoVerify(a),
		newSign(a),
		newVerify(a),
		newLog(a),
		newPs(a),
		newWatch(a),
		newConfig(a),
		newDocs(a),
		newVersion(a),
		newCompletion(a),
		newMan(a),
		newEnvironment(),
		newNameTopic(),
	}
}

// checkHelp makes 'pix help WORD' fail for an unknown word. Cobra would print the help of the root instead.
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

// noSuchVerb returns a usage error for an unknown verb, with suggestions.
func noSuchVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := hintForWords(cmd, args)
	return wrongUse(hintedVerb(cmd, hint), fmt.Errorf("unknown command %q%s", args[0], hint))
}

// checkUsage turns errors about the flags and arguments of a verb into a [usageError].
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

// wrongFlag returns a usage error for a flag. Errors of package strconv and of time.ParseDuration name
// Go functions, so it replaces them with the value that the flag expects.
func wrongFlag(cmd *cobra.Command, err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		hint := flagHint(cmd, name)
		return wrongUse(hintedVerb(cmd, hint), fmt.Errorf("%w%s", err, hint))
	}
	if letter, ok := strings.CutPrefix(err.Error(), "unknown shorthand flag: '"); ok {
		letter, _, _ = strings.Cut(letter, "'")
		hint := flagHints[cmd.Name()+" -"+letter]
		return wrongUse(hintedVerb(cmd, hint), fmt.Errorf("unknown flag: -%s%s", letter, hint))
	}
	cause := errors.Unwrap(err)
	if cause == nil {
		return wrongUse(cmd, err)
	}
	if refused, ok := errors.AsType[*refusedFlag](err); ok {
		return wrongUse(cmd, refused)
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

// wrongUse returns a usage error that refers to the help of the verb.
func wrongUse(cmd *cobra.Command, err error) error {
	return &usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
}
