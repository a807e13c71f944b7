package cacheserver

import (
	"context"
	"errors"
	"io"
	"os"

	"pix/internal/contextio"
	"pix/nixhash"
)

// verify compares an open file with the hash in its name, unless it is verified. A file of another process may have been damaged by a
// power cut. verify deletes such a file, and returns errDamaged. Many requests for parts of a file come at the same time, so only one of
// them reads the file, and the others wait for its result.
func (k *keptFiles) verify(ctx context.Context, f *openFile) error {
	for {
		v, isNew := k.verification(f)
		if v == nil {
			f.verified = true
			return nil
		}
		if isNew {
			k.endVerification(f, v, f.compare(ctx))
		}
		select {
		case <-v.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if isNew || v.err == nil || errors.Is(v.err, errDamaged) {
			f.verified = v.err == nil
			return v.err
		}
		// The client of the other request has left, or its file could not be read.
	}
}

// A verification compares a file with the hash in its name.
type verification struct {
	done chan struct{} // closed at the end
	err  error         // set before done is closed
}

// verification returns the running verification of a file, or a new one, which the caller must end. It returns nil for a verified file.
func (k *keptFiles) verification(f *openFile) (v *verification, isNew bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f.verified || f.kept.verified {
		return nil, false
	}
	if f.kept.verifying != nil {
		return f.kept.verifying, false
	}
	f.kept.verifying = &verification{done: make(chan struct{})}
	return f.kept.verifying, true
}

// endVerification records the result of a verification. It deletes a damaged file, unless another file has taken its place.
func (k *keptFiles) endVerification(f *openFile, v *verification, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if errors.Is(err, errDamaged) && k.files[f.name.archive] == f.kept {
		k.removeLocked(f.kept)
	}
	f.kept.verified, f.kept.verifying = err == nil, nil
	v.err = err
	close(v.done)
}

// compare compares the file with the hash in its name. The error is errDamaged if they differ.
func (f *openFile) compare(ctx context.Context) error {
	hasher := nixhash.SHA256.New()
	contents := io.NewSectionReader(f.File, 0, f.name.size+1) // one more, because a longer file is another one
	if _, err := io.Copy(hasher, contextio.NewReader(ctx, contents)); err != nil {
		return err
	}
	if nixhash.FromHash(nixhash.SHA256, hasher) != f.name.file {
		return errDamaged
	}
	return nil
}

// errDamaged is the error of a file that does not have the hash in its name.
var errDamaged = errors.New("a kept file was damaged, and is deleted")

// remove deletes the file of an archive, which is damaged.
func (k *keptFiles) remove(archive nixhash.Hash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if f := k.files[archive]; f != nil {
		k.removeLocked(f)
	}
}

// removeLocked deletes a damaged file. k.mu is held.
func (k *keptFiles) removeLocked(f *keptFile) {
	os.Remove(k.path(f.keptName)) // otherwise the next writer replaces it
	k.forget(f)
}
