package pixpkgs

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// SourceOptions are the options of [Source] and [SourceFS]. A nil pointer is the zero value.
type SourceOptions struct {
	// Name is the name in the store; "" means the name of the file or directory.
	Name string
	// Filter reports whether to include a file below the source. If it excludes a directory, it
	// excludes everything below. path is relative to the source and separated by slashes.
	Filter func(path string, kind nar.Kind) bool
	// Flat hashes the bytes of a single file, which will not be executable in the store.
	Flat bool
	// Dir is the store directory; "" means [storepath.DefaultDir].
	Dir storepath.Dir
}

// Source returns a file or directory of the host as a source, as builtins.path does. It reads the source
// to compute the path. [Realize] reads it again to add it to a store, and fails if it has changed.
// Symlinks are not followed.
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

// SourceFS returns name in a file system as a source, for example one that is embedded in the program.
// The name "." means the whole file system, and requires a name in the options. Otherwise it is like
// [Source].
func SourceFS(ctx context.Context, fsys fs.FS, name string, o *SourceOptions) (*Object, error) {
	return source(ctx, filepath.Base(name), o, contents{
		dump: func(ctx context.Context, w io.Writer, o *nar.DumpOptions) error {
			return nar.DumpFS(ctx, w, fsys, name, o)
		},
		open: func() (fs.File, error) { return fsys.Open(name) },
	})
}

// contents are the functions that read a source.
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

// writeFlat writes the archive of a single file without its execute bit.
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
		return fmt.Errorf("it is not a regular file, so it cannot be Flat")
	}
	return use(f, info)
}

// Text returns a file with the given contents, as builtins.toFile does. contents is a value as in a
// [Spec]. It may mention other objects but no packages, because the file must exist before anything is
// built.
//
// The error is an [*Error] with the name of the file.
func Text(name string, contents any) (*Object, error) {
	n := &normalSpec{spec: Spec{Name: name}, dir: storepath.DefaultDir, args: []String{coerce(contents)}}
	if err := storepath.CheckName(name); err != nil {
		return nil, n.fail("Text", err)
	}
	n, err := n.resolve()
	if err != nil {
		return nil, err
	}
	in, err := n.collect()
	if err != nil {
		return nil, err
	}
	if pkgs := in.pkgs(); len(pkgs) > 0 {
		return nil, n.failf("Text", "it mentions package %q, which is not built when the file is written: write the file in a build instead", pkgs[0].Name())
	}
	if err := n.declare(in); err != nil {
		return nil, err
	}
	o, err := textObject(n.dir, name, n.args[0].String(), in)
	if err != nil {
		return nil, n.fail("Text", err)
	}
	return o, nil
}

func textObject(dir storepath.Dir, name, text string, in *inputSet) (*Object, error) {
	references := make([]*Object, 0, len(in.objects))
	for _, path := range slices.Compact(slices.Sorted(slices.Values(in.paths))) {
		if in.objects[path] == nil {
			return nil, fmt.Errorf("it mentions %s, which is not an Object", path)
		}
		references = append(references, in.objects[path])
	}
	ca, err := storepath.NewContentAddress(storepath.Text, nixhash.Sum(nixhash.SHA256, []byte(text)))
	if err != nil {
		return nil, err
	}
	return newObject(context.Background(), dir, name, ca, references, func(_ context.Context, w io.Writer) error {
		return writeFile(w, uint64(len(text)), func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	})
}
