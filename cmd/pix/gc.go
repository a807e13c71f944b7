package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"pix/internal/exactjson"
	"pix/internal/sizes"
	"pix/localstore"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// gcOptions are the flags of gc.
type gcOptions struct {
	dryRun, explain, asJSON, stdin bool
	deleteOld                      bool
	maxFreed, olderThan            string
}

func newGC(a *app) *cobra.Command {
	var o gcOptions
	cmd := &cobra.Command{
		Use:   "gc [PATH...]",
		Short: "Collect garbage",
		Long: `Collect garbage: delete the paths that no root needs, or only the given ones of them. It is an
error if a given path is needed. Prints the deleted paths, and the freed size on standard error.
If a path cannot be deleted, gc prints its name, deletes the others, and exits with 1.

With --delete-old, first delete all generations except the current ones of all profiles that this
user may change, and with --delete-older-than 30d those that were created more than 30 days ago,
except the newest of them: in the directory profiles of the store, in $XDG_STATE_HOME/nix/profiles
and beside the default profile. With --dry-run they are printed, and still keep their paths.

With --dry-run nothing is deleted. Instead of the freed size it prints the size of the archives of
the paths: a collection frees less if their files are hard links to others.

With --explain nothing is collected: for each path a root that keeps it is printed, and the chain
from the root to the path. The exit code is 1 if one of the paths is garbage.`,
		Example:           "  pix gc --max-freed 10G\n  pix gc --delete-older-than 30d\n  pix gc --explain /nix/store/...-hello",
		GroupID:           groupKeeping,
		ValidArgsFunction: a.completePaths,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.gc(cmd, args, o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.dryRun, "dry-run", false, "print what would be deleted, and delete nothing")
	flags.BoolVar(&o.explain, "explain", false, "collect nothing, and print why the paths are not garbage")
	flags.StringVar(&o.maxFreed, "max-freed", "", "stop when that many `bytes` are freed; K, M, G and T may follow")
	flags.BoolVar(&o.asJSON, "json", false, "print an object with paths and bytesFreed, or with --explain a list of objects")
	flags.BoolVarP(&o.deleteOld, "delete-old", "d", false, "first delete all old generations of profiles")
	flags.StringVar(&o.olderThan, "delete-older-than", "", "first delete generations older than this `age`, a number of days such as 30d")
	freeValue(cmd, "max-freed")
	freeValue(cmd, "delete-older-than")
	addStdinFlag(cmd, &o.stdin)
	return cmd
}

func (a *app) gc(cmd *cobra.Command, args []string, o gcOptions) error {
	if o.stdin {
		var err error
		if args, err = a.withStdin(cmd, args, o.stdin); err != nil {
			return err
		}
		if len(args) == 0 && !o.explain { // an empty list of paths must not collect the whole store
			return a.printCollected(new(store.GCResult), 0, o)
		}
	}
	if o.cleansProfiles() && (len(args) > 0 || o.stdin || o.explain) {
		return &usageError{errors.New("--delete-old and --delete-older-than are about the whole store, and take no paths")}
	}
	if o.explain {
		if o.dryRun || o.maxFreed != "" || len(args) == 0 {
			return &usageError{errors.New("--explain takes paths, and no other flag except --json")}
		}
		return a.explainLiveness(cmd.Context(), args, o.asJSON)
	}
	opts, err := gcStoreOptions(args, o)
	if err != nil {
		return err
	}
	names, err := a.names(args)
	if err != nil {
		return err
	}
	return a.withStore(cmd.Context(), toChange, func(ctx context.Context, s store.Store) error {
		if opts.Action == store.GCDeleteSpecific {
			if opts.Paths, err = objectsOf(ctx, s, names); err != nil {
				return err
			}
		}
		var oldErr error
		if o.cleansProfiles() {
			if oldErr = a.deleteOldGenerations(ctx, s, o); ctx.Err() != nil {
				return oldErr
			}
		}
		boundGarbage()
		result, err := store.CollectGarbage(ctx, s, opts)
		if result != nil { // after an error it has the paths that were deleted before
			size := result.ArchiveBytes
			if o.dryRun && err == nil && size == 0 {
				size, err = archiveSizes(ctx, s, result.Paths)
			}
			err = cmp.Or(a.printCollected(result, size, o), err)
		}
		return cmp.Or(gcError(err), oldErr)
	})
}

// cleansProfiles reports whether old generations of profiles are deleted first.
func (o *gcOptions) cleansProfiles() bool { return o.deleteOld || o.olderThan != "" }

// gcError returns an error of a collection in which commands of pix replace the commands of Nix.
func gcError(err error) error {
	alive, ok := errors.AsType[*localstore.AliveError](err)
	switch {
	case !ok:
		return err
	case strings.HasPrefix(alive.Root.Link, "/proc/"):
		return fmt.Errorf("cannot delete '%s', since it is still alive: a running process uses it (%s)", alive.Path, alive.Root.Link)
	}
	return fmt.Errorf("cannot delete '%s', since it is still alive; 'pix gc --explain %[1]s' says why", alive.Path)
}

// gcStoreOptions returns the options of a collection for the store.
func gcStoreOptions(args []string, o gcOptions) (store.GCOptions, error) {
	opts := store.GCOptions{Action: store.GCDeleteDead, MaxFreed: math.MaxUint64}
	if o.maxFreed != "" {
		n, err := nixconf.ParseSize(o.maxFreed)
		if err != nil {
			return opts, &usageError{err}
		}
		opts.MaxFreed = n
	}
	if len(args) > 0 {
		opts.Action = store.GCDeleteSpecific
	}
	if o.dryRun {
		if len(args) > 0 {
			return opts, &usageError{errors.New("--dry-run is about the whole store, and takes no paths")}
		}
		opts.Action = store.GCReturnDead
	}
	return opts, nil
}

// archiveSizes returns the size of the archives of dead paths. A path that is not valid has none. A collection frees about as many
// bytes: fewer if files are hard links, and more by the blocks of the file system.
func archiveSizes(ctx context.Context, s store.Store, names []string) (size uint64, err error) {
	var paths []storepath.Path
	for _, name := range names {
		if p, err := s.Dir().Parse(name); err == nil { // others are the remains of builds
			paths = append(paths, p)
		}
	}
	for info, err := range store.LookUp(ctx, s, paths) {
		if err != nil {
			return 0, err
		}
		if info != nil {
			size += info.NARSize
		}
	}
	return size, nil
}

// printCollected prints the deleted paths, and a line with the totals on standard error. size is the size of the archives of the
// paths for a dry run, in which the store reports no size.
func (a *app) printCollected(result *store.GCResult, size uint64, o gcOptions) error {
	if o.asJSON {
		return a.printCollectedJSON(result, size, o.dryRun)
	}
	w := bufio.NewWriterSize(a.stdout, 64<<10)
	for _, p := range result.Paths {
		w.WriteString(a.shown(p))
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if o.dryRun {
		fmt.Fprintf(a.stderr, "%s would be deleted, with archives of %s\n", counted(len(result.Paths), "store path"), sizes.Spell(int64(size)))
	} else {
		fmt.Fprintf(a.stderr, "%s deleted, %s freed\n", counted(len(result.Paths), "store path"), sizes.Spell(int64(result.BytesFreed)))
	}
	return nil
}

// printCollectedJSON prints the deleted paths and the freed bytes as JSON, and for a dry run the size of the archives.
func (a *app) printCollectedJSON(result *store.GCResult, size uint64, dryRun bool) error {
	out := bufio.NewWriterSize(a.stdout, 64<<10)
	w := exactjson.Writer{Indent: "  "}
	w.Open('{')
	w.Key("paths")
	w.Open('[')
	for _, p := range result.Paths {
		w.Element()
		text, err := marshalJSON(p) // the name of a file may have bytes that are not UTF-8
		if err != nil {
			return err
		}
		w.Raw(strings.TrimSuffix(text, "\n"))
		out.Write(w.Buf)
		w.Buf = w.Buf[:0]
	}
	w.Close(']')
	w.Key("bytesFreed")
	w.Uint(result.BytesFreed)
	if dryRun {
		w.Key("narSize")
		w.Uint(size)
	}
	w.Close('}')
	w.Raw("\n")
	out.Write(w.Buf)
	return out.Flush()
}
