package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/localstore"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// addOptions are the flags of add.
type addOptions struct {
	name, method, algorithm string
}

func newAdd(a *app) *cobra.Command {
	var o addOptions
	cmd := &cobra.Command{
		Use:   "add PATH...",
		Short: "Add files and directories to the store",
		Long: `Add files and directories to the store, and print their store paths. By default the paths
follow from the SHA-256 of the archives, like the paths of sources. PATH may be - for standard
input, or a pipe such as <(command); it then needs --name. If the store itself is in a directory
that is added, it is left out.`,
		Example: "  pix add ./src --name my-source",
		GroupID: groupStore,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.name != "" && len(args) > 1 {
				return wrongUse(cmd, errors.New("--name is for one PATH"))
			}
			address, err := parseAddressing(o.method, o.algorithm)
			if err != nil {
				return wrongUse(cmd, err)
			}
			return a.withStore(cmd.Context(), toCreate, func(ctx context.Context, s store.Store) error {
				for _, arg := range args {
					path, err := a.addFile(ctx, s, arg, o.name, address)
					if err != nil {
						return err
					}
					if err := a.print(string(path) + "\n"); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.name, "name", "n", "", "the `name` of the store object (default the last part of PATH)")
	addAddressingFlags(cmd, &o.method, &o.algorithm)
	otherNames(cmd, map[string]string{"method": "mode", "algo": "hash-algo"})
	freeValue(cmd, "name")
	return cmd
}

// addAddressingFlags adds the flags for how a content address is computed.
func addAddressingFlags(cmd *cobra.Command, method, algorithm *string) {
	flags := cmd.Flags()
	flags.StringVar(method, "mode", storepath.NAR.String(), "the `mode`, which selects the hashed bytes: nar, flat (the bytes of a file), text or git")
	flags.StringVar(algorithm, "hash-algo", nixhash.SHA256.String(), "the hash `algorithm`: md5, sha1, sha256, sha512 or blake3")
	valuesOf(cmd, "mode", "nar", "flat", "text", "git")
	valuesOf(cmd, "hash-algo", hashAlgorithms...)
}

// An addressing says how the content address of an object is computed.
type addressing struct {
	method    storepath.Method
	algorithm nixhash.Algorithm
}

func parseAddressing(method, algorithm string) (address addressing, err error) {
	if address.method, err = storepath.ParseMethod(method); err != nil {
		return address, err
	}
	address.algorithm, err = nixhash.ParseAlgorithm(algorithm)
	return address, err
}

// addFile adds a file or directory under a name; "" is the name of the file.
func (a *app) addFile(ctx context.Context, s store.Store, file, name string, address addressing) (storepath.Path, error) {
	if name == "" {
		var err error
		if name, err = sourceName(file); err != nil {
			return "", err
		}
	}
	if err := storepath.CheckName(name); err != nil {
		return "", &usageError{fmt.Errorf("%w; give the store object a name with --name", err)}
	}
	contents, err := a.openAdded(ctx, s, file, address)
	if err != nil {
		return "", err
	}
	defer contents.Close()
	reader, done := reportAdding(ctx, file, contents)
	defer done()
	info, err := store.Add(ctx, s, name, address.method, address.algorithm, nil, reader, nil)
	if readErr, ok := errors.AsType[*fs.PathError](err); ok && readErr.Op == "dump" {
		return "", readErr // it names the file that cannot be read
	}
	if err != nil {
		return "", fmt.Errorf("adding '%s': %w", file, err)
	}
	return info.Path, nil
}

// openAdded returns the contents of a file, or its archive, as the method requires.
func (a *app) openAdded(ctx context.Context, s store.Store, arg string, address addressing) (io.ReadCloser, error) {
	if address.method == storepath.Flat || address.method == storepath.Text {
		return a.openContents(ctx, arg)
	}
	file, remove, err := a.asFile(ctx, arg)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(file); err != nil {
		return nil, err
	}
	options := &nar.DumpOptions{Filter: a.withoutStore(s, file)}
	r, w := io.Pipe()
	go func() { // ends at the latest when r is closed
		defer remove()
		w.CloseWithError(nar.Dump(ctx, w, file, options))
	}()
	return r, nil
}

// withoutStore returns a filter that leaves out the store, or nil if it is not inside a directory. A copy of a directory with
// the store would contain itself.
func (a *app) withoutStore(s store.Store, dir string) func(path string, kind nar.Kind) bool {
	local, ok := store.As[*localstore.Store](s)
	if !ok {
		return nil
	}
	info := local.Info()
	top, err := filepath.EvalSymlinks(dir)
	if err == nil {
		top, err = filepath.Abs(top)
	}
	if err != nil {
		return nil
	}
	left := make(map[string]bool)
	for _, own := range []string{info.StoreDir, info.StateDir} {
		if real, err := filepath.EvalSymlinks(own); err == nil {
			if inside, ok := strings.CutPrefix(real, strings.TrimSuffix(top, "/")+"/"); ok {
				left[inside] = true
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	a.warn(fmt.Sprintf("the store is in '%s' and is left out", dir))
	return func(path string, _ nar.Kind) bool { return !left[path] }
}

// reportAdding reports an activity for adding a file to the handler of ctx. The reader that it returns reports how
// much of contents was read. The caller must call done at the end.
func reportAdding(ctx context.Context, file string, contents io.Reader) (reader io.Reader, done func()) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return contents, func() {}
	}
	id := activity.NewID()
	h.HandleEvent(activity.Start{ID: id, Level: activity.LevelInfo, Type: activity.CopyPath, Text: fmt.Sprintf("adding '%s'", file)})
	return activity.ProgressReader(h, id, contents, 0), func() { h.HandleEvent(activity.Stop{ID: id}) }
}
