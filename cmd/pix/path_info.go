package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// pathInfoOptions are the flags of path-info.
type pathInfoOptions struct {
	asJSON  bool
	version int // of Nix's format of path infos in JSON
	closure bool
	size    bool
	human   bool
}

func newPathInfo(a *app) *cobra.Command {
	var o pathInfoOptions
	cmd := newPathVerb(a, pathVerb{
		use:   "path-info PATH...",
		short: "Print what the store knows of paths",
		long: `Print what the store knows of paths: for one a few lines, for several blocks of lines that begin
with the path. With --json everything, in one of the formats of Nix itself: an object keyed
by path, with full paths in version 1, and from version 2 on inside an object with the members
that all paths share.`,
		example: "  pix path-info --closure --size /nix/store/...-hello",
		check: func() error {
			if o.version < 1 || o.version > 3 {
				return fmt.Errorf("--json-format is %d, expected 1 to 3", o.version)
			}
			return nil
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			infos, err := pathInfos(ctx, s, paths, o.closure)
			if err != nil {
				return err
			}
			var sizes map[storepath.Path]uint64
			if o.size {
				if sizes, err = closureSizes(ctx, s, infos, o.closure); err != nil {
					return err
				}
			}
			return a.printPathInfos(s.Dir(), infos, sizes, o)
		},
	})
	flags := cmd.Flags()
	flags.BoolVar(&o.asJSON, "json", false, "everything, as JSON")
	flags.IntVar(&o.version, "json-format", 1, "the `version` of Nix's JSON format, 1 to 3")
	flags.BoolVar(&o.closure, "closure", false, "print the closure of the paths")
	flags.BoolVar(&o.size, "size", false, "also print the size of the closure of each path")
	flags.BoolVar(&o.human, "human", false, "print sizes with units")
	valuesOf(cmd, "json-format", "1", "2", "3")
	return cmd
}

// pathInfos returns the infos of paths, or of their closure in the order of [store.Closure].
func pathInfos(ctx context.Context, s store.Store, paths []storepath.Path, whole bool) ([]*store.PathInfo, error) {
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
	return c.ClosureSizes(paths...)
}

func (a *app) printPathInfos(dir storepath.Dir, infos []*store.PathInfo, sizes map[storepath.Path]uint64, o pathInfoOptions) error {
	if !o.asJSON {
		return a.print(pathInfosText(infos, sizes, o.human))
	}
	text, err := pathInfosJSON(dir, infos, sizes, o.version)
	if err != nil {
		return err
	}
	return a.print(text)
}

func pathInfosText(infos []*store.PathInfo, sizes map[storepath.Path]uint64, human bool) string {
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
		if sizes != nil {
			fmt.Fprintf(&b, "closure-size: %s\n", formatSize(sizes[info.Path], human))
		}
		fmt.Fprintf(&b, "references: %s\n", joinPaths(info.References))
		fmt.Fprintf(&b, "sigs: %s\n", strings.Join(info.Signatures, " "))
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

// pathInfosJSON returns path infos in a version of Nix's JSON format, with closureSize if sizes is not nil.
func pathInfosJSON(dir storepath.Dir, infos []*store.PathInfo, sizes map[storepath.Path]uint64, version int) (string, error) {
	byPath := make(map[storepath.Path]*store.PathInfo, len(infos))
	for _, info := range infos {
		byPath[info.Path] = info
	}
	format := store.PathInfoJSON{Version: version}
	text, err := format.MarshalAllWith(dir, byPath, func(info *store.PathInfo, members map[string]any) {
		if sizes != nil {
			members["closureSize"] = sizes[info.Path]
		}
	})
	if err != nil {
		return "", err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		return "", err
	}
	return indented.String() + "\n", nil
}
