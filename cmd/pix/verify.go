package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/nixconf"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// The parts of the exit code of verify, as in Nix.
const (
	exitModified   = 1
	exitUntrusted  = 2
	exitUnverified = 4
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	all, recursive, stdin bool
	noContents, noTrust   bool
	signaturesNeeded      int
	keys                  []string
	substituters          []string
}

func newVerify(a *app) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Check that paths are unchanged and trusted",
		Long: `Check that the contents of paths have the hashes that the store has recorded, and that the paths
are trusted: signed by a trusted key, content-addressed, or built by this store. It reads the
archives from the store, which may be a daemon or a binary cache. The trusted keys are the ones of
trusted-public-keys and secret-key-files in nix.conf.

Bad paths are printed on standard error. As in Nix, the exit code is the sum of 1 if a path was
modified, 2 if one is untrusted, and 4 if one could not be verified for another reason. To check
all files and the database of a store, see pix verify-store.`,
		Example: "  pix verify -r /nix/store/...-hello\n" +
			"  pix verify --store https://cache.example.org -n 2 /nix/store/...-hello",
		GroupID:           groupKeys,
		ValidArgsFunction: a.completeInstallables,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return wrongUse(cmd, err)
			}
			if !o.all {
				var err error
				if args, err = a.withStdin(cmd, args, o.stdin); err != nil {
					return err
				}
			}
			keys, err := a.verifyingKeys(&o, cmd.Flags().Changed("trusted-public-keys"))
			if err != nil {
				return err
			}
			names, err := a.names(args)
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), toRead, func(ctx context.Context, s store.Store) error {
				return a.verify(ctx, s, names, keys, &o)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.all, "all", false, "verify all paths of the store")
	flags.BoolVarP(&o.recursive, "recursive", "r", false, "verify the closure of the paths")
	flags.BoolVar(&o.noContents, "no-contents", false, "do not read the contents")
	flags.BoolVar(&o.noTrust, "no-trust", false, "do not check whether the paths are trusted")
	flags.IntVarP(&o.signaturesNeeded, "sigs-needed", "n", 0, "the `number` of different keys that must have signed each path; then paths that this store has built need signatures, too")
	flags.StringArrayVar(&o.keys, "trusted-public-keys", nil, "public `keys`, with spaces between them, instead of the ones of nix.conf")
	flags.StringArrayVarP(&o.substituters, "substituter", "s", nil, "also use signatures from the store at this `URI`")
	addStdinFlag(cmd, &o.stdin)
	otherNames(cmd, map[string]string{"closure": "recursive"})
	freeValue(cmd, "sigs-needed")
	freeValue(cmd, "trusted-public-keys")
	completeFlag(cmd, "substituter", completeURIs)
	return cmd
}

// check checks that the flags and the arguments fit together.
func (o *verifyOptions) check(args []string) error {
	switch {
	case o.signaturesNeeded < 0:
		return errors.New("--sigs-needed must not be negative")
	case o.all && (len(args) > 0 || o.stdin || o.recursive):
		return errors.New("--all is for all paths of the store, so PATH, --stdin and --recursive exclude it")
	case o.noContents && o.noTrust:
		return errors.New("--no-contents and --no-trust leave nothing to verify")
	}
	return nil
}

// verifyingKeys returns the trusted keys of the flag, or else of the configuration.
func (a *app) verifyingKeys(o *verifyOptions, given bool) (signature.KeySet, error) {
	if given {
		keys, err := signature.ParseKeySet(strings.Join(o.keys, " "))
		if err != nil {
			return nil, &usageError{fmt.Errorf("--trusted-public-keys: %w", err)}
		}
		return keys, nil
	}
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	keys, invalid := trustedKeys(conf)
	for _, err := range invalid {
		a.warn(errorText(err))
	}
	return keys, a.conf.addOwnKeys(keys, conf)
}

// addOwnKeys adds the keys with which this machine signs. Other users may not read the files, so those are ignored, as
// in Nix.
func (c *configuration) addOwnKeys(keys signature.KeySet, conf *nixconf.Conf) error {
	for _, file := range conf.Reader().Words("secret-key-files") {
		own, err := c.secretKeys([]string{file})
		if _, unreadable := errors.AsType[*os.PathError](err); unreadable {
			continue
		}
		if err != nil {
			return &usageError{err}
		}
		public := own[0].Public()
		if _, has := keys[public.Name()]; !has {
			keys[public.Name()] = public
		}
	}
	return nil
}

// verify prints the bad paths, and returns the exit code as an error.
func (a *app) verify(ctx context.Context, s store.Store, names []storeName, keys signature.KeySet, o *verifyOptions) error {
	opts := &store.VerifyOptions{
		NoContents: o.noContents, NoTrust: o.noTrust, TrustedKeys: keys, SignaturesNeeded: o.signaturesNeeded,
	}
	for _, uri := range o.substituters {
		other, err := a.openWith(ctx, openOptions{uri: uri, access: toRead})
		if err != nil {
			return err
		}
		defer other.Close()
		opts.SignaturesFrom = append(opts.SignaturesFrom, other)
	}
	paths, err := pathsToVerify(ctx, s, names, o)
	if err != nil {
		return err
	}
	code := 0
	err = store.VerifyPaths(ctx, s, paths, opts, func(v *store.PathVerdict) {
		code |= a.reportVerdict(ctx, v)
	})
	if err == nil && code != 0 {
		err = &silentError{code}
	}
	return err
}

// pathsToVerify returns the paths of the arguments, their closure, or all paths, without duplicates.
func pathsToVerify(ctx context.Context, s store.Store, names []storeName, o *verifyOptions) ([]storepath.Path, error) {
	if o.all {
		return store.AllValidPaths(ctx, s)
	}
	paths, err := objectsOf(ctx, s, names)
	if err != nil {
		return nil, err
	}
	if o.recursive {
		infos, err := validInfos(ctx, s, paths, true)
		if err != nil {
			return nil, err
		}
		paths = paths[:0]
		for _, info := range infos {
			paths = append(paths, info.Path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// reportVerdict prints a bad path, and returns its part of the exit code.
func (a *app) reportVerdict(ctx context.Context, v *store.PathVerdict) (code int) {
	report := func(part int, text string) {
		code |= part
		if h := activity.HandlerOf(ctx); h != nil {
			h.HandleEvent(activity.ErrorLog(text))
			return
		}
		fmt.Fprintln(a.stderr, activity.Plain("error: "+text)) // -q is for messages, not for results
	}
	for _, err := range v.Unanswered {
		report(0, errorText(err))
	}
	if v.Modified != nil {
		report(exitModified, modifiedText(v.Modified))
	}
	if v.Untrusted {
		report(exitUntrusted, fmt.Sprintf("path '%s' is untrusted", v.Path))
	}
	if v.Err != nil {
		report(exitUnverified, errorText(v.Err))
	}
	return code
}

// modifiedText returns the text for a path that was modified, which is Nix's unless only its content address is wrong.
func modifiedText(err error) string {
	if modified, ok := errors.AsType[*store.ModifiedError](err); ok {
		return modified.Error()
	}
	if other, ok := errors.AsType[*store.MismatchError](err); ok {
		return fmt.Sprintf("the contents of path '%s' do not have its content address! expected hash '%s', got '%s'", other.Path, other.Specified, other.Got)
	}
	return errorText(err)
}
