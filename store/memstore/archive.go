package memstore

import (
	"bytes"
	"fmt"
	"io"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// room returns how many bytes still fit.
func (c *contents) room() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.opts.MaxSize - c.size
}

// A limitedBuffer takes so many bytes, and then fails with [ErrFull].
type limitedBuffer struct {
	bytes.Buffer
	left int64
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, ErrFull
	}
	return b.Buffer.Write(p)
}

// readAll reads a stream that must fit.
func (c *contents) readAll(r io.Reader) ([]byte, error) {
	b := &limitedBuffer{left: c.room()}
	_, err := io.Copy(b, onlyReader{r})
	return b.Bytes(), err
}

// onlyReader keeps io.Copy from asking r to write itself, past the limit.
type onlyReader struct{ io.Reader }

// readNAR reads an archive that must fit, and its hash.
func (c *contents) readNAR(r io.Reader) ([]byte, nixhash.Hash, error) {
	b, h := &limitedBuffer{left: c.room()}, nar.NewHasher(nixhash.SHA256)
	_, err := nar.Copy(io.MultiWriter(b, h), r)
	return b.Bytes(), h.Hash(), err
}

// fileNAR returns the archive of a file with those contents.
func fileNAR(contents []byte) []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Size: uint64(len(contents))})
	w.Write(contents)
	w.Close() // nothing of this can fail
	return b.Bytes()
}

// fileIn returns the contents of an archive that is a single file.
func fileIn(archive []byte) ([]byte, error) {
	r := nar.NewReader(bytes.NewReader(archive))
	e, err := r.Next()
	if err != nil {
		return nil, err
	}
	if e.Kind != nar.Regular {
		return nil, fmt.Errorf("it is no file but a %s", e.Kind)
	}
	return io.ReadAll(r)
}

// contentHash returns the hashes of an object, by the method and the algorithm of its content address.
func contentHash(info *store.PathInfo, archive []byte) (nar.ContentHashes, error) {
	contents := archive
	switch info.CA.Method() {
	case storepath.Text, storepath.Flat:
		var err error
		if contents, err = fileIn(archive); err != nil {
			return nar.ContentHashes{}, err
		}
	case storepath.Git:
		return nar.ContentHashes{}, errNoGit
	}
	h, err := nar.NewModuloHasher(info.CA.Hash().Algorithm(), info.Path.HashPart())
	if err != nil {
		return nar.ContentHashes{}, err
	}
	h.Write(contents)
	return h.Finish(), nil
}

// A checkedReader reads an archive, and at its end returns an error instead of io.EOF if it
// is not what it should be.
type checkedReader struct {
	src    *bytes.Reader
	info   *store.PathInfo
	hasher *nar.Hasher
}

func newCheckedReader(o *object) *checkedReader {
	return &checkedReader{bytes.NewReader(o.nar), &o.info, nar.NewHasher(nixhash.SHA256)}
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	r.hasher.Write(p[:n])
	if err == io.EOF {
		err = checkHash(r.info, r.hasher.Hash())
	}
	return n, err
}

// checkHash returns io.EOF if an archive has the hash that it should have.
func checkHash(info *store.PathInfo, got nixhash.Hash) error {
	if got != info.NARHash {
		return &store.ModifiedError{Path: info.Path, Expected: info.NARHash, Got: got}
	}
	return io.EOF
}

// Close does nothing.
func (r *checkedReader) Close() error { return nil }
