package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pix/store"
	"pix/storepath"
)

// A pathInfoForm says how path infos are printed.
type pathInfoForm struct {
	asJSON  bool
	version int // of Nix's form in JSON
	size    bool
	human   bool
}

func newPathInfo(a *app) *cobra.Command {
	var form pathInfoForm
	var closure bool
	cmd := newPathVerb(a, pathVerb{
		use:   "path-info PATH...",
		short: "Print what the store knows of paths",
		long: `Print what the store knows of paths: for one a few lines, for several blocks of lines that begin
with the path. With --json everything, in one of the forms that Nix itself has: an object keyed
by path, with full paths in version 1, and from version 2 on with what is common to all in an
object around it.`,
		example: "  pix path-info --closure --size /nix/store/...-hello",
		check: func() error {
			if form.version < 1 || form.version > 3 {
				return fmt.Errorf("--json-format is %d, and there are 1 to 3", form.version)
			}
			return nil
		},
		run: func(ctx context.Context, s store.Store, paths []storepath.Path) error {
			infos, err := pathInfos(ctx, s, paths, closure)
			if err != nil {
				return err
			}
			var sizes map[storepath.Path]uint64
			if form.size {
				if sizes, err = closureSizes(ctx, s, infos, closure); err != nil {
					return err
				}
			}
			return a.printPathInfos(s.Dir(), infos, sizes, form)
		},
	})
	flags := cmd.Flags()
	flags.BoolVar(&form.asJSON, "json", false, "everything, as JSON")
	flags.IntVar(&form.version, "json-format", 1, "the `version` of Nix's form in JSON, 1 to 3")
	flags.BoolVar(&closure, "closure", false, "also of all that the paths refer to, and so on")
	flags.BoolVar(&form.size, "size", false, "also the size of the closure of each path")
	flags.BoolVar(&form.human, "human", false, "sizes for people, not for programs")
	valuesOf(cmd, "json-format", "1", "2", "3")
	return cmd
}

// pathInfos asks for all paths at once: the store answers them in one round trip.
func pathInfos(ctx context.Context, s store.Store, paths []storepath.Path, closure bool) ([]*store.PathInfo, error) {
	if closure {
		var infos []*store.PathInfo
		for info, err := range store.Closure(ctx, s, paths...) {
			if err != nil {
				return nil, err
			}
			infos = append(infos, info)
		}
		return infos, nil
	}
	return store.PathInfos(ctx, s, paths)
}

func (a *app) printPathInfos(dir storepath.Dir, infos []*store.PathInfo, sizes map[storepath.Path]uint64, form pathInfoForm) error {
	if !form.asJSON {
		return a.print(pathInfosText(infos, sizes, form.human))
	}
	text, err := pathInfosJSON(dir, infos, sizes, form.version)
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

// pathInfosJSON writes path infos in Nix's form, with closureSize where sizes are known.
func pathInfosJSON(dir storepath.Dir, infos []*store.PathInfo, sizes map[storepath.Path]uint64, version int) (string, error) {
	byPath := make(map[storepath.Path]*store.PathInfo, len(infos))
	for _, info := range infos {
		byPath[info.Path] = info
	}
	form := store.PathInfoJSON{Version: version}
	text, err := form.MarshalAllWith(dir, byPath, func(info *store.PathInfo, members map[string]any) {
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
