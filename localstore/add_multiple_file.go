package localstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"pix/localstore/internal/objects"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Small texts and files of a batch, such as derivations, stay in memory until their paths are locked. Then they are
// created under their final names, and the batch needs no temporary file, and no query, for each of them.

// maxBatchFile is the size in bytes up to which the archive of such a file stays in memory.
const maxBatchFile = 32 << 10

// fitsMemory reports whether an object is a small file that stays in memory. Its path must follow from the contents, so
// that nothing but the contents can decide whether it is the right object. A path that exists already is probably valid,
// and then its archive is not read into memory.
func (b *batch) fitsMemory(info *store.PathInfo, archive io.Reader) bool {
	if m := info.CA.Method(); b.opts.Repair || info.NARSize > maxBatchFile || m != storepath.Text && m != storepath.Flat {
		return false
	}
	_, keepable := archive.(store.Keepable)
	return !keepable && !b.s.existsOnDisk(info.Path)
}

// addFile reads a small file into memory and checks it on another goroutine. It restores an archive that is not a plain
// file like any other, because the hash in the info decides whether it is correct.
func (b *batch) addFile(info *store.PathInfo, archive io.Reader) error {
	src := &store.ObjectReader{Archive: archive}
	small := make([]byte, info.NARSize)
	n, err := io.ReadFull(src, small)
	contents, ok := plainFile(small)
	if err != nil || !ok {
		return b.addOther(info, io.MultiReader(bytes.NewReader(small[:n]), src))
	}
	item := b.newItem(info)
	item.inMemory, item.contents = true, contents
	b.fileBytes += len(small)
	b.restores.Go(func() error { return b.restored(item, src, b.s.checkFile(info, small, contents, b.opts)) })
	return nil
}

// addOther adds an object that turned out to be no plain file, or whose archive is bad.
func (b *batch) addOther(info *store.PathInfo, archive io.Reader) error {
	needed, err := b.s.prepare(b.ctx, info.Path, b.opts.Repair)
	if err != nil || !needed {
		return err
	}
	return b.create(info, archive)
}

// fileHead and fileTail surround the size and the contents of a file without the execute bit in its archive.
var fileHead, fileTail = func() (head, tail []byte) {
	const sizeLen, tailLen = 8, 16
	var empty bytes.Buffer
	nar.WriteFile(&empty, bytes.NewReader(nil), 0) // a write to a buffer cannot fail
	end := empty.Len() - tailLen
	return empty.Bytes()[:end-sizeLen], empty.Bytes()[end:]
}()

// plainFile returns the contents of the file in an archive, which share the memory of the archive. It reports false if
// the archive does not consist of one file without the execute bit.
func plainFile(archive []byte) (contents []byte, ok bool) {
	rest, ok := bytes.CutPrefix(archive, fileHead)
	if !ok || len(rest) < 8 {
		return nil, false
	}
	size := binary.LittleEndian.Uint64(rest)
	rest, ok = bytes.CutSuffix(rest[8:], fileTail)
	if !ok || size > uint64(len(rest)) {
		return nil, false
	}
	contents, padding := rest[:size:size], rest[size:]
	return contents, len(padding) == int(-size&7) && !slices.ContainsFunc(padding, func(b byte) bool { return b != 0 })
}

// checkFile returns an error if an archive, or the contents of the file in it, differ from the info.
func (s *Store) checkFile(info *store.PathInfo, archive, contents []byte, opts *store.AddOptions) error {
	if err := info.CheckArchive(nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))); err != nil {
		return err
	}
	got, err := objects.HashFile(contents, info)
	if err != nil {
		return &store.InfoError{Path: info.Path, Err: fmt.Errorf("checking the contents of '%s': %w", info.Path, err)}
	}
	return s.checkContents(info, got, opts)
}

// secureFiles makes the paths of the files in memory temporary roots, and returns the objects without the files whose
// paths have become valid. A collector may delete a valid path, and the lock file of any path, that is not a root. So
// secureFiles comes before the validity is queried, and before a path is locked.
func (b *batch) secureFiles(items []*batchItem) ([]*batchItem, error) {
	var paths []storepath.Path
	for _, item := range items {
		if item.inMemory {
			paths = append(paths, item.info.Path)
		}
	}
	if len(paths) == 0 {
		return items, nil
	}
	if _, err := b.s.addTempRoots(b.late, paths...); err != nil {
		return nil, err
	}
	valid, err := b.s.validAmong(b.late, paths)
	if err != nil || len(valid) == 0 {
		return items, err
	}
	needed := make([]*batchItem, 0, len(items))
	for _, item := range items {
		if !item.inMemory || !valid[item.info.Path] {
			needed = append(needed, item)
		}
	}
	return needed, nil
}

// validAmong returns the valid ones among paths. It reads on the write connection if that is free, because it has the
// pages of the last transaction in its cache.
func (s *Store) validAmong(ctx context.Context, paths []storepath.Path) (map[storepath.Path]bool, error) {
	db, err := s.database(ctx, true)
	if err != nil {
		return nil, err
	}
	valid := make(map[storepath.Path]bool)
	err = db.readOnWriter(ctx, func(c *conn) error {
		for _, p := range paths {
			_, is, err := c.pathID(p)
			if err != nil {
				return err
			}
			if is {
				valid[p] = true
			}
		}
		return nil
	})
	return valid, err
}

// giveName gives an object its name in the store directory; see [Store.place].
func (b *batch) giveName(item *batchItem, name string) error {
	if item.inMemory {
		return objects.CreateFile(name, item.contents)
	}
	return b.dir.moveTo(item.name, name)
}
