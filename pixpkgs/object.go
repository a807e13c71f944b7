package pixpkgs

import (
	"context"
	"fmt"
	"io"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An Object is a file or directory that is added to the store without a build: a text or a source. It
// prints as its path. [Text], [Source] and [SourceFS] create one, and [Realize] adds it to a store.
type Object struct {
	info       store.PathInfo
	references []*Object
	write      func(context.Context, io.Writer) error // writes the archive
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

// newObject computes the path of the object whose archive write writes. If ca is zero, the object is
// addressed by the SHA-256 of its archive.
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

// archive writes the archive to w. It fails if the contents have changed since newObject.
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

// writeFile writes the archive of a file of the given size. f writes the contents.
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
