package cacheserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"pix/internal/compression"
	"pix/nixhash"
)

// compressedFiles are compressed archives in a directory.
type compressedFiles struct{ keptFiles }

// openCompressed opens a directory with compressed archives, or creates it. It deletes files that were not completed. At most
// writers archives are compressed at a time.
func openCompressed(dir string, size int64, writers int) (*compressedFiles, error) {
	c := &compressedFiles{keptFiles{dir: dir, max: size, writers: writers, temporary: ".compressing-", format: formatCompressed}}
	return c, c.load(c.addFound)
}

// compressedExtension ends the names of complete files.
const compressedExtension = ".nar.zst"

func formatCompressed(n keptName) string {
	return fmt.Sprintf("%s-%s-%d%s", n.archive.Nix32(), n.file.Nix32(), n.size, compressedExtension)
}

// parseCompressed parses the result of formatCompressed.
func parseCompressed(s string) (n keptName, ok bool) {
	parts := strings.Split(strings.TrimSuffix(s, compressedExtension), "-")
	if len(parts) != 3 {
		return n, false
	}
	var errs [3]error
	n.archive, errs[0] = nixhash.ParseUnprefixed(parts[0], nixhash.SHA256)
	n.file, errs[1] = nixhash.ParseUnprefixed(parts[1], nixhash.SHA256)
	n.size, errs[2] = strconv.ParseInt(parts[2], 10, 64)
	return n, errors.Join(errs[:]...) == nil && formatCompressed(n) == s
}

// addFound adds a file in the directory. A file whose size is not the one in its name was damaged by a power cut.
func (c *compressedFiles) addFound(e fs.DirEntry) error {
	name, ok := parseCompressed(e.Name())
	if !ok {
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != name.size || c.files[name.archive] != nil {
		return os.Remove(filepath.Join(c.dir, e.Name()))
	}
	c.add(name, lastUse(info))
	return nil
}

// get returns the compressed file of an archive, or the file into which the archive is being compressed. It starts that if no other
// request has, and holds one of the places meanwhile, also while it verifies a file. The caller must close the result.
func (c *compressedFiles) get(ctx context.Context, a *archive, encoders *places) (*openFile, *growingFile, error) {
	f, g, err := c.find(a.info.NARHash)
	if g != nil || err != nil || f != nil && f.verified {
		return f, g, err
	}
	if f != nil {
		f.Close() // another request may verify it before there is a place
	}
	if err := encoders.acquire(ctx); err != nil {
		return nil, nil, err
	}
	begun := false
	defer func() {
		if !begun { // also if the store panics
			encoders.release()
		}
	}()
	if f, err = c.findVerified(ctx, a.info.NARHash); f != nil || err != nil {
		return f, nil, err
	}
	g, err = c.create(context.WithoutCancel(ctx), a)
	if err != nil {
		return nil, nil, err
	}
	f, other, err := c.begin(a, g, encoders)
	if f != nil || other != nil || err != nil {
		g.discard()
		a.contents.Close()
		return f, other, err
	}
	begun = true
	return nil, g, nil
}

// findVerified returns the verified file of an archive. It returns nil if there is none, or if the file was damaged.
func (c *compressedFiles) findVerified(ctx context.Context, archive nixhash.Hash) (*openFile, error) {
	f, g, err := c.find(archive)
	if g != nil {
		g.close() // begin finds it again
	}
	if f == nil || err != nil {
		return nil, err
	}
	err = c.verify(ctx, f)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, errDamaged) {
		err = nil
	}
	return nil, err
}

// create opens an archive, and creates a file for the compressed archive. Before that it makes room: the other files may fill the
// disk.
func (c *compressedFiles) create(ctx context.Context, a *archive) (*growingFile, error) {
	if err := c.lockAndMakeRoom(int64(a.info.NARSize)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	if err := a.open(ctx, a.whole()); err != nil {
		cancel()
		return nil, err
	}
	g, err := c.createTemp(int64(a.info.NARSize), cancel)
	if err != nil {
		a.contents.Close()
		cancel()
	}
	return g, err
}

// lockAndMakeRoom is makeRoom for a caller that does not hold c.mu.
func (c *compressedFiles) lockAndMakeRoom(size int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.makeRoom(size)
}

// begin begins to compress an archive into g, and releases the place at the end. If another request has begun to compress it, begin
// returns that file instead.
func (c *compressedFiles) begin(a *archive, g *growingFile, encoders *places) (*openFile, *growingFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hash, size := a.info.NARHash, int64(a.info.NARSize)
	if f, other, err := c.findLocked(hash); f != nil || other != nil || err != nil {
		return f, other, err
	}
	if err := c.makeRoom(size); err != nil {
		return nil, nil, err
	}
	c.start(hash, size, g, encoders, func() (keptName, error) { return g.compress(a) })
	return nil, nil, nil
}

// compress writes the compressed archive, and closes the archive.
func (g *growingFile) compress(a *archive) (keptName, error) {
	defer a.contents.Close()
	hasher := nixhash.SHA256.New()
	err := a.sendCompressed(io.MultiWriter(hasher, g), g.fail)
	if err == nil {
		g.file.Truncate(g.written) // frees the rest of the allocated space
	}
	return keptName{a.info.NARHash, nixhash.FromHash(nixhash.SHA256, hasher), g.written}, err
}

// sendCompressed writes the compressed archive, which is open. It calls failed with an error of the archive before it ends the
// stream, because no client may see a complete one.
func (a *archive) sendCompressed(dst io.Writer, failed func(error)) error {
	w, err := compression.Encode("zstd", dst, 0, a.info.NARSize)
	if err != nil {
		return err
	}
	if err = a.send(w, a.whole()); err != nil {
		failed(err)
	}
	return errors.Join(err, w.Close())
}
