package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// pathInfoOptions are the flags of path-info.
type pathInfoOptions struct {
	asJSON      bool
	version     int  // of Nix's format of path infos in JSON
	all         bool // valid paths of the store
	recursive   bool
	size        bool // of the archive
	closureSize bool
	sigs        bool
	human       bool
	table       bool
	sort        string // the order of the table: one of sizeSortKeys
}

func newPathInfo(a *app) *cobra.Command {
	var o pathInfoOptions
	cmd := newPathVerb(a, pathVerb{
		use:   "path-info PATH...",
		short: "Print what the store knows of paths",
		long: `Print what the store knows of paths: for one a few lines, for several blocks of lines that begin
with the path. With -s, -S or --sigs a line for each path instead, with these columns. With --json
everything, in one of the formats of Nix itself: an object keyed by path, with full paths in version
1, and from version 2 on inside an object with the members that all paths share.

With --table a table of sizes, the largest closure first: the size of the archive of a path, of its
closure, and its added size, by which the closure of the given paths would shrink if nothing in it
referred to the path.

A path that is not valid is null in JSON. Otherwise the exit code is 1 then, after the other paths
have been printed.`,
		example: "  pix path-info -rsSh /nix/store/...-hello\n" +
			"  pix path-info -r --table --sort added-size /nix/store/...-hello",
		all: &o.all,
		check: func() error {
			if o.version < 1 || o.version > 3 {
				return fmt.Errorf("--json-format is %d, expected 1 to 3", o.version)
			}
			return o.checkTable()
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			return a.pathInfo(ctx, s, paths, o)
		},
	})
	flags := cmd.Flags()
	flags.Bool("help", false, "") // without -h, which is Nix's --human-readable here
	hideFlag(cmd, "help")
	flags.BoolVar(&o.asJSON, "json", false, "everything, as JSON")
	flags.IntVar(&o.version, "json-format", 1, "the `version` of Nix's JSON format, 1 to 3")
	flags.BoolVarP(&o.recursive, "recursive", "r", false, "print the closure of the paths")
	flags.BoolVarP(&o.size, "nar-size", "s", false, "print the size of the archive of each path")
	flags.BoolVarP(&o.closureSize, "closure-size", "S", false, "print the size of the closure of each path")
	flags.BoolVar(&o.sigs, "sigs", false, "print the signatures of each path")
	flags.BoolVarP(&o.human, "human-readable", "h", false, "print sizes with units")
	flags.BoolVar(&o.table, "table", false, "print a table of sizes")
	flags.StringVar(&o.sort, "sort", "", "sort the table by `KEY`: closure-size, nar-size, added-size or path")
	valuesOf(cmd, "sort", sizeSortKeys...)
	otherNames(cmd, map[string]string{"closure": "recursive", "human": "human-readable"})
	renamedFlag(cmd, "size", "it was the size of the closure, which is -S or --closure-size now; the size of the archive is -s or --nar-size")
	valuesOf(cmd, "json-format", "1", "2", "3")
	return cmd
}

// pathInfo prints the infos of paths in the form that the flags select.
func (a *app) pathInfo(ctx context.Context, s store.Store, paths []storepath.Path, o pathInfoOptions) error {
	if o.table {
		return a.printSizeTable(ctx, s, paths, o)
	}
	if o.asJSON {
		return a.printInfosJSON(ctx, s, paths, o)
	}
	infos, invalid, err := pathInfos(ctx, s, paths, o.recursive)
	if err != nil {
		return err
	}
	var sizes map[storepath.Path]uint64
	if o.closureSize {
		if sizes, err = closureSizes(ctx, s, infos, o.recursive); err != nil {
			return err
		}
	}
	return a.printPathInfos(infos, invalid, sizes, o)
}

// invalidPaths are the paths of path-info that are not valid, and the error for the first.
type invalidPaths struct {
	paths []storepath.Path
	err   error
}

// pathInfos returns the infos of paths, or of their closure in the order of [store.Closure], and the paths that are not
// valid.
func pathInfos(ctx context.Context, s store.Store, paths []storepath.Path, whole bool) (infos []*store.PathInfo, invalid invalidPaths, err error) {
	invalid, err = ofValid(ctx, s, paths, func(valid []storepath.Path) (err error) {
		infos, err = validInfos(ctx, s, valid, whole)
		return err
	})
	return infos, invalid, err
}

// ofValid calls get with paths. If one is not valid, it calls get again with the valid ones, and returns the others.
func ofValid(ctx context.Context, s store.Store, paths []storepath.Path, get func(valid []storepath.Path) error) (invalid invalidPaths, err error) {
	err = get(paths)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return invalid, err
	}
	invalid.err = err
	valid, validErr := areValid(ctx, s, paths, false)
	if validErr != nil {
		return invalid, validErr
	}
	var rest []storepath.Path
	for i, p := range paths {
		if valid[i] {
			rest = append(rest, p)
		} else {
			invalid.paths = append(invalid.paths, p)
		}
	}
	if len(invalid.paths) == 0 {
		return invalid, err // a reference is missing
	}
	return invalid, get(rest)
}

// validInfos returns the infos of valid paths, or of their closure.
func validInfos(ctx context.Context, s store.Store, paths []storepath.Path, whole bool) ([]*store.PathInfo, error) {
	if !whole {
		return store.PathInfos(ctx, s, paths) // in one round trip
	}
	var infos []*store.PathInfo
	for info, err := range store.Closure(ctx, s, paths...) {
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// closureSizes returns the closure size of each of the infos in bytes. If whole is true, the infos are a closure,
// and s is not queried again.
func closureSizes(ctx context.Context, s store.Store, infos []*store.PathInfo, whole bool) (map[storepath.Path]uint64, error) {
	paths := make([]storepath.Path, len(infos))
	for i, info := range infos {
		paths[i] = info.Path
	}
	var c *closure.Closure
	var err error
	if whole {
		c, err = closure.New(infos)
	} else {
		c, err = closure.Load(ctx, s, paths...)
	}
	if err != nil {
		return nil, err
	}
	return c.ClosureSizes(ctx, paths...)
}

func (a *app) printPathInfos(infos []*store.PathInfo, invalid invalidPaths, sizes map[storepath.Path]uint64, o pathInfoOptions) error {
	text := ""
	if o.size || o.closureSize || o.sigs {
		text = a.pathInfosTable(infos, sizes, o)
	} else {
		text = a.pathInfosText(infos, o.human)
	}
	if err := a.print(text); err != nil {
		return err
	}
	return invalid.err
}

// pathInfosTable returns a line for each path with the columns that are asked for, as Nix prints it.
func (a *app) pathInfosTable(infos []*store.PathInfo, closures map[storepath.Path]uint64, o pathInfoOptions) string {
	longest := 0
	for _, info := range infos {
		longest = max(longest, len(info.Path))
	}
	var b strings.Builder
	for _, info := range infos {
		fmt.Fprintf(&b, "%-*s", longest, info.Path)
		if o.size {
			b.WriteString("\t" + sizeColumn(info.NARSize, o.human))
		}
		if o.closureSize {
			b.WriteString("\t" + sizeColumn(closures[info.Path], o.human))
		}
		if o.sigs {
			b.WriteString("\t" + strings.Join(a.trustWords(info), " "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func sizeColumn(n uint64, human bool) string {
	return fmt.Sprintf("%11s", formatSize(n, human))
}

// trustWords returns why a path may be trusted: that the store built it, its content address, and its signatures.
func (a *app) trustWords(info *store.PathInfo) (words []string) {
	if info.Ultimate {
		words = append(words, "ultimate")
	}
	if !info.CA.IsZero() {
		words = append(words, "ca:"+info.CA.String())
	}
	for _, sig := range info.Signatures {
		words = append(words, a.shown(sig))
	}
	return words
}

func (a *app) pathInfosText(infos []*store.PathInfo, human bool) string {
	var b strings.Builder
	for i, info := range infos {
		if len(infos) > 1 {
			if i > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "path: %s\n", info.Path)
		}
		fmt.Fprintf(&b, "deriver: %s\n", info.Deriver)
		fmt.Fprintf(&b, "nar-hash: %s\n", info.NARHash.WithBase16())
		fmt.Fprintf(&b, "nar-size: %s\n", formatSize(info.NARSize, human))
		fmt.Fprintf(&b, "references: %s\n", joinPaths(info.References))
		fmt.Fprintf(&b, "sigs: %s\n", a.shown(strings.Join(info.Signatures, " ")))
	}
	return b.String()
}

func joinPaths(paths []storepath.Path) string {
	words := make([]string, len(paths))
	for i, p := range paths {
		words[i] = string(p)
	}
	return strings.Join(words, " ")
}
