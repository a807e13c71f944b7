package objects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/githash"
	"pix/localstore/internal/filetime"
	"pix/localstore/internal/regular"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// HashFileArchive returns the hash and the size of the archive of a file with these contents and without the execute
// bit.
func HashFileArchive(contents []byte) (hash nixhash.Hash, size uint64) {
	h := nar.NewHasher(nixhash.SHA256)
	nar.WriteFile(h, bytes.NewReader(contents), uint64(len(contents))) // a write to a hash cannot fail
	return h.Hash(), h.Size()
}

// HashContents returns the hashes of an object by the method and the algorithm of its content address. The object may
// contain its own store path, so there are two hashes; see [nar.ContentHashes]. With the method git they are equal,
// because git does not replace the hash part of the path.
func HashContents(ctx context.Context, root *os.Root, name string, info *store.PathInfo) (nar.ContentHashes, error) {
	method, algo := info.CA.Method(), info.CA.Hash().Algorithm()
	if method == storepath.Git {
		hash, err := githash.Hash(ctx, root, name, algo)
		return nar.ContentHashes{Plain: hash, WithOffsets: hash}, err
	}
	h, err := nar.NewModuloHasher(algo, info.Path.HashPart())
	if err != nil {
		return nar.ContentHashes{}, err
	}
	if method == storepath.NAR {
		err = nar.Dump(ctx, h, filepath.Join(root.Name(), name), nil)
	} else {
		err = copyFile(h, root, name)
	}
	return h.Finish(), err
}

// HashFile is [HashContents] for a file with these contents, by the method text or flat.
func HashFile(contents []byte, info *store.PathInfo) (nar.ContentHashes, error) {
	h, err := nar.NewModuloHasher(info.CA.Hash().Algorithm(), info.Path.HashPart())
	if err != nil {
		return nar.ContentHashes{}, err
	}
	_, err = h.Write(contents)
	return h.Finish(), err
}

// copyFile writes the contents of a file to dst.
func copyFile(dst io.Writer, root *os.Root, name string) error {
	f, err := regular.OpenIn(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(dst, f)
	return err
}

// A State identifies the files of an object and the times at which they were last changed. Two equal states mean that
// the object has not changed in between. The zero State equals no state of an object.
type State [sha256.Size]byte

// maxStateFiles is the largest number of files, directories and symlinks of an object that [StateOf] examines. Hashing
// many small files takes about as long as examining them.
const maxStateFiles = 256

var (
	errManyFiles = errors.New("too many files")
	errUnsettled = errors.New("changed just now")
)

// StateOf returns the state of the object with this name. It returns the zero State if the object has too many files,
// if a file was changed so recently that a later change could have the same time, or if a file cannot be examined.
func StateOf(name string, now time.Time) State {
	h := sha256.New()
	files := 0
	var metadata []byte // of one file
	err := filepath.WalkDir(name, func(name string, _ fs.DirEntry, err error) error {
		if files++; files > maxStateFiles {
			return errManyFiles
		}
		var stat unix.Stat_t
		if err == nil {
			err = unix.Lstat(name, &stat)
		}
		if err != nil {
			return err
		}
		if !filetime.IsSettled(stat.Ctim, now) {
			return errUnsettled
		}
		metadata = metadata[:0]
		for _, n := range [...]int64{int64(stat.Dev), int64(stat.Ino), int64(stat.Mode), stat.Size, stat.Ctim.Nano(), stat.Mtim.Nano()} {
			metadata = binary.LittleEndian.AppendUint64(metadata, uint64(n))
		}
		h.Write(metadata)
		return nil
	})
	if err != nil {
		return State{}
	}
	return State(h.Sum(nil))
}
