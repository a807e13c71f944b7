package builder

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"pix/internal/parallel"
	"pix/internal/removetree"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// copyName is the name of a copy in its directory. Messages contain it, so it is the name that Nix uses.
const copyName = "x"

// read computes the hash of an output and finds its references, without copying it.
func (f *finisher) read(ctx context.Context, m *made) error {
	return f.learn(m, func(w io.Writer) error { return nar.Dump(ctx, w, m.file, nil) })
}

// copy replaces an output by a private, canonical copy with rewritten hash parts. No other process has a descriptor
// of the copy. It is read and written as an archive, so no symlink in it is followed.
func (f *finisher) copy(ctx context.Context, m *made, rewrites map[string]string) error {
	dir, err := f.makeCopyDir(ctx)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	err = f.learn(m, func(w io.Writer) error { return copyTree(ctx, m.file, root, rewrites, w) })
	if malformed, ok := errors.AsType[*nar.Error](err); ok && rewrites != nil {
		// If names contain hash parts, rewriting may change their order or make them equal.
		return rejected("output '%s' cannot be rewritten to its final path: %v", m.name, malformed)
	}
	m.file = filepath.Join(dir, copyName)
	return err
}

// makeCopyDir makes a private directory on the file system of the store. It is beside the root of the sandbox, where
// the builder cannot see it. If this process is killed, the next one removes it with the sandbox.
func (f *finisher) makeCopyDir(ctx context.Context) (string, error) {
	top := f.chroot
	if top == nil {
		if f.top == nil {
			var err error
			if f.top, err = f.makeTop(ctx); err != nil {
				return "", err
			}
		}
		top = f.top
	}
	dir, err := os.MkdirTemp(top.top, "copy-")
	if err == nil {
		f.copies = append(f.copies, dir)
	}
	return dir, err
}

// removeCopies removes the directories with copies.
func (f *finisher) removeCopies() (err error) {
	for _, dir := range f.copies {
		err = errors.Join(err, removetree.RemovePath(dir))
	}
	return errors.Join(err, f.top.remove())
}

// learn sets the hash, the size and the references of an output from its archive, which dump writes.
func (f *finisher) learn(m *made, dump func(w io.Writer) error) error {
	hasher := nar.NewHasher(nixhash.SHA256)
	mentions := nar.NewRefScanner(f.candidates)
	if err := dump(io.MultiWriter(hasher, mentions)); err != nil {
		return err
	}
	m.info.NARHash, m.info.NARSize = hasher.Hash(), hasher.Size()
	if m.mentions == nil { // a rewritten output contains final paths, not scratch paths
		m.mentions = mentions.Found()
	}
	return nil
}

// errStopped ends the reading side of a copy after the writing side has failed.
var errStopped = errors.New("the copy could not be written")

// copyTree copies a file or directory to the name copyName in root, and writes the archive of the copy to tee.
func copyTree(ctx context.Context, from string, root *os.Root, rewrites map[string]string, tee io.Writer) error {
	archive, in := io.Pipe()
	var dumping error
	restoring := parallel.Do(func() error {
		err := dumpRewritten(ctx, in, from, rewrites)
		if !errors.Is(err, errStopped) {
			dumping = err
		}
		return errors.Join(in.CloseWithError(err)) // which is nil
	}, func() error {
		err := nar.Restore(ctx, root, copyName, archive, &nar.RestoreOptions{InPlace: true, Canonical: true, Tee: tee})
		archive.CloseWithError(errStopped)
		return err
	})
	if dumping != nil {
		return dumping
	}
	return restoring
}

// dumpRewritten writes the archive of a file or directory, with hash parts replaced.
func dumpRewritten(ctx context.Context, dst io.Writer, file string, rewrites map[string]string) error {
	if len(rewrites) == 0 {
		return nar.Dump(ctx, dst, file, nil)
	}
	w, err := nar.NewRewriter(dst, rewrites)
	if err == nil {
		err = nar.Dump(ctx, w, file, nil)
	}
	if err == nil {
		err = w.Close()
	}
	return err
}

// rewrite replaces an output by a copy with rewritten hash parts, unless rewrites is empty.
func (f *finisher) rewrite(ctx context.Context, m *made, rewrites map[string]string) error {
	if len(rewrites) == 0 {
		return nil
	}
	return f.copy(ctx, m, rewrites)
}

// rewritesOf returns the hash parts of scratch paths to replace in an output, with the hash parts of the final paths.
// It leaves out unknown and equal final paths.
func (f *finisher) rewritesOf(m *made) map[string]string {
	rewrites := make(map[string]string)
	for _, p := range m.mentions {
		if final, ok := f.finals[p]; ok && final.HashPart() != p.HashPart() {
			rewrites[p.HashPart()] = final.HashPart()
		}
	}
	return rewrites
}

// finalReferences returns the references of an output as final paths.
func (f *finisher) finalReferences(m *made) storepath.References {
	var refs storepath.References
	for _, p := range m.references {
		final, ok := f.finals[p]
		switch {
		case p == m.scratch:
			refs.Self = true
		case ok:
			refs.Others = append(refs.Others, final)
		default:
			refs.Others = append(refs.Others, p)
		}
	}
	return refs
}
