package pixpkgs

import (
	"context"
	"fmt"
	"io"
	"slices"

	"pix/nixhash"
	"pix/storepath"
)

// Text returns a file with those contents, as builtins.toFile does. The contents are a
// value as those of a [Spec]; they may mention other objects, but no packages, since the
// file is there before anything is built.
//
// The error is an [*Error] with the name of the file.
func Text(name string, contents any) (*Object, error) {
	n := &normal{spec: Spec{Name: name}, dir: storepath.DefaultDir, args: []String{coerce(contents)}}
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
		return nil, n.failf("Text", "it mentions package %q, which is not built when the file is written: let a build write it", pkgs[0].Name())
	}
	if n, err = n.declare(in); err != nil {
		return nil, err
	}
	o, err := textObject(n.dir, name, n.args[0].String(), in)
	if err != nil {
		return nil, n.fail("Text", err)
	}
	return o, nil
}

func textObject(dir storepath.Dir, name, text string, in *inputs) (*Object, error) {
	references := make([]*Object, 0, len(in.objects))
	for _, path := range slices.Compact(slices.Sorted(slices.Values(in.paths))) {
		if in.objects[path] == nil {
			return nil, fmt.Errorf("it mentions %s, which is no Object", path)
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
