package pixpkgs

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An Object is a file or directory that is put into the store as it is, without a build:
// a text, or sources. It prints as its path. It is made by [Text], [Source] and
// [SourceFS], and added to a store by [Realize].
type Object struct {
	info       store.PathInfo
	references []*Object
	write      func(context.Context, io.Writer) error // the archive
}

// StorePath returns the object's path in the store.
func (o *Object) StorePath() storepath.Path { return o.info.Path }

// String returns the object's path in the store.
func (o *Object) String() string { return string(o.info.Path) }

// Path returns the path of a file in the object, for values of a [Spec].
func (o *Object) Path(elem ...string) String {
	s, _ := mention(o)
	return s.Path(elem...)
}

// newObject reads the archive that write writes, and returns it as an object with that
// content address.
func newObject(ctx context.Context, dir storepath.Dir, name string, ca storepath.ContentAddress, references []*Object, write func(context.Context, io.Writer) error) (*Object, error) {
	o := &Object{references: references, write: write}
	h := nar.NewHasher(nixhash.SHA256)
	if err := write(ctx, h); err != nil {
		return nil, err
	}
	o.info.NARHash, o.info.NARSize = h.Hash(), h.Size()
	var err error
	if ca.IsZero() {
		if ca, err = storepath.NewContentAddress(storepath.NAR, o.info.NARHash); err != nil {
			return nil, err
		}
	}
	for _, r := range references {
		o.info.References = append(o.info.References, r.info.Path)
	}
	o.info.CA = ca
	o.info.Path, err = dir.FixedOutputPath(name, ca, storepath.References{Others: o.info.References})
	return o, err
}

// archive writes the archive to w, unless the contents are no longer what they were.
func (o *Object) archive(ctx context.Context, w io.Writer) error {
	h := nar.NewHasher(nixhash.SHA256)
	if err := o.write(ctx, io.MultiWriter(w, h)); err != nil {
		return err
	}
	if h.Hash() != o.info.NARHash {
		return fmt.Errorf("source %s: its contents have changed since it was declared", o)
	}
	return nil
}

// textArchive returns the archive of a file with those contents.
func textArchive(text string) ([]byte, error) {
	var b bytes.Buffer
	err := writeFile(&b, uint64(len(text)), func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	return b.Bytes(), err
}

// writeFile writes the archive of a file of that size, whose contents are written by f.
func writeFile(w io.Writer, size uint64, f func(io.Writer) error) error {
	archive := nar.NewWriter(w)
	if err := archive.WriteEntry(nar.Entry{Kind: nar.Regular, Size: size}); err != nil {
		return err
	}
	if err := f(archive); err != nil {
		return err
	}
	return archive.Close()
}
