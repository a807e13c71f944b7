package pixpkgs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// SourceOptions say how sources are read. A nil pointer means the defaults.
type SourceOptions struct {
	// Name is the name in the store; that of the file or directory if "".
	Name string
	// Filter is asked about everything below the source, and what it refuses is left out, a
	// directory with all that lies in it. The path is relative to the source, with slashes.
	Filter func(path string, kind nar.Kind) bool
	// Flat takes the bytes of a single file, which will not be executable.
	Flat bool
	// Dir is the store directory; "" is [storepath.DefaultDir].
	Dir storepath.Dir
}

// Source returns a file or directory of the machine as a source, as builtins.path does. It
// is read now, to compute its path, and again when it is added to a store; then it must
// still be the same. Symlinks are taken as such.
//
// The error is an [*Error] with the name of the source.
func Source(ctx context.Context, path string, o *SourceOptions) (*Object, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, &Error{Package: path, Field: "Source", Err: err}
	}
	return source(ctx, filepath.Base(absolute), o, contents{
		dump: func(ctx context.Context, w io.Writer, o *nar.DumpOptions) error {
			return nar.Dump(ctx, w, absolute, o)
		},
		open: func() (fs.File, error) {
			f, err := os.Open(absolute)
			if err != nil {
				return nil, err // a nil *os.File in an interface is not nil
			}
			return f, nil
		},
	})
}

// SourceFS returns what name is in a file system as a source, such as one that is embedded
// in the program; "." is all of it, which needs a name in the options. For the rest see
// [Source].
func SourceFS(ctx context.Context, fsys fs.FS, name string, o *SourceOptions) (*Object, error) {
	return source(ctx, filepath.Base(name), o, contents{
		dump: func(ctx context.Context, w io.Writer, o *nar.DumpOptions) error {
			return nar.DumpFS(ctx, w, fsys, name, o)
		},
		open: func() (fs.File, error) { return fsys.Open(name) },
	})
}

// contents are how a source is read.
type contents struct {
	dump func(context.Context, io.Writer, *nar.DumpOptions) error
	open func() (fs.File, error)
}

func source(ctx context.Context, base string, o *SourceOptions, c contents) (*Object, error) {
	if o == nil {
		o = &SourceOptions{}
	}
	name, dir := cmp.Or(o.Name, base), cmp.Or(o.Dir, storepath.DefaultDir)
	fail := func(err error) (*Object, error) { return nil, &Error{Package: name, Field: "Source", Err: err} }
	if err := storepath.CheckName(name); err != nil {
		return fail(err)
	}
	var ca storepath.ContentAddress
	filter := o.Filter
	write := func(ctx context.Context, w io.Writer) error { return c.dump(ctx, w, &nar.DumpOptions{Filter: filter}) }
	if o.Flat {
		var err error
		if ca, err = c.flatAddress(); err != nil {
			return fail(err)
		}
		write = c.writeFlat
	}
	object, err := newObject(ctx, dir, name, ca, nil, write)
	if err != nil {
		return fail(err)
	}
	return object, nil
}

// flatAddress returns the content address of the bytes of a single file.
func (c contents) flatAddress() (storepath.ContentAddress, error) {
	h := nar.NewHasher(nixhash.SHA256)
	err := c.withFile(func(f fs.File, _ fs.FileInfo) error {
		_, err := io.Copy(h, f)
		return err
	})
	if err != nil {
		return storepath.ContentAddress{}, err
	}
	return storepath.NewContentAddress(storepath.Flat, h.Hash())
}

// writeFlat writes the archive of a single file without its executable bit.
func (c contents) writeFlat(_ context.Context, w io.Writer) error {
	return c.withFile(func(f fs.File, info fs.FileInfo) error {
		return writeFile(w, uint64(info.Size()), func(w io.Writer) error {
			_, err := io.Copy(w, f)
			return err
		})
	})
}

func (c contents) withFile(use func(fs.File, fs.FileInfo) error) error {
	f, err := c.open()
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("it is no regular file, and so it cannot be Flat")
	}
	return use(f, info)
}
