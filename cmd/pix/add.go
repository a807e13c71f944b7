package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"pix/activity"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

func newAdd(a *app) *cobra.Command {
	var name, method, algo string
	cmd := &cobra.Command{
		Use:   "add PATH...",
		Short: "Add files and directories to the store",
		Long: `Add files and directories to the store, and print their store paths. By default they are addressed
by the SHA-256 of their archives, as sources are.`,
		Example: "  pix add ./src --name my-source",
		GroupID: groupStore,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name != "" && len(args) > 1 {
				return wrongUse(cmd, fmt.Errorf("--name is for one PATH"))
			}
			how, err := parseHow(method, algo)
			if err != nil {
				return wrongUse(cmd, err)
			}
			return a.withStore(cmd.Context(), toCreate, func(ctx context.Context, s store.Store) error {
				for _, arg := range args {
					path, err := addFile(ctx, s, arg, name, how)
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
	flags.StringVar(&name, "name", "", "the `name` of the store object (default the last part of PATH)")
	flags.StringVar(&method, "method", storepath.NAR.String(), "the `method`, what is hashed: nar, flat (the bytes of a file), text or git")
	flags.StringVar(&algo, "algo", nixhash.SHA256.String(), "the hash `algorithm`: md5, sha1, sha256, sha512 or blake3")
	freeValue(cmd, "name")
	valuesOf(cmd, "method", "nar", "flat", "text", "git")
	valuesOf(cmd, "algo", algorithms...)
	return cmd
}

// A how says how an object is addressed.
type how struct {
	method    storepath.Method
	algorithm nixhash.Algorithm
}

func parseHow(method, algo string) (h how, err error) {
	if h.method, err = storepath.ParseMethod(method); err != nil {
		return h, err
	}
	h.algorithm, err = nixhash.ParseAlgorithm(algo)
	return h, err
}

func addFile(ctx context.Context, s store.Store, file, name string, h how) (storepath.Path, error) {
	own, err := sourceName(file)
	if err != nil {
		return "", err
	}
	name = cmp.Or(name, own)
	if err := storepath.CheckName(name); err != nil {
		return "", &usageError{fmt.Errorf("%w; give the store object a name with --name", err)}
	}
	contents, err := h.contents(ctx, file)
	if err != nil {
		return "", err
	}
	defer contents.Close()
	sent, told := reportAdding(ctx, file, contents)
	defer told()
	info, err := store.Add(ctx, s, name, h.method, h.algorithm, nil, sent, nil)
	if unread, ok := errors.AsType[*fs.PathError](err); ok && unread.Op == "dump" {
		return "", unread // which is no matter of the archive that it was to become
	}
	if err != nil {
		return "", fmt.Errorf("adding '%s': %w", file, err)
	}
	return info.Path, nil
}

// contents returns what is sent of a file: itself, or its archive.
func (h how) contents(ctx context.Context, file string) (io.ReadCloser, error) {
	if h.method == storepath.Flat || h.method == storepath.Text {
		f, err := os.Open(file)
		if err != nil {
			return nil, err // a nil *os.File in an interface is not nil
		}
		return f, nil
	}
	if _, err := os.Lstat(file); err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(nar.Dump(ctx, w, file, nil)) }() // ends when r is closed
	return r, nil
}

// reportAdding tells the handler of ctx that a file is added, and with the reader that it
// returns how much of it was sent. What it returns besides tells that this has ended.
func reportAdding(ctx context.Context, file string, contents io.Reader) (io.Reader, func()) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return contents, func() {}
	}
	id := activity.NewID()
	h.HandleEvent(activity.Start{ID: id, Level: activity.LevelInfo, Type: activity.CopyPath, Text: fmt.Sprintf("adding '%s'", file)})
	return activity.ProgressReader(h, id, contents, 0), func() { h.HandleEvent(activity.Stop{ID: id}) }
}
