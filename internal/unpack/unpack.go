// Package unpack unpacks tar and zip archives from sources that are not trusted.
//
// A tar archive may be compressed with gzip, xz, zstd, bzip2, lzma or lz4. Names cannot lead out of the destination, not
// even through a symlink of the archive; device nodes and pipes are refused; and there are limits, since a small archive
// can have contents without end. Owners, times and modes are ignored, except the executable bit, so the result has the
// same Nix archive as in Nix, which uses libarchive.
package unpack

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"

	"pix/internal/compression"
	"pix/internal/contextio"
)

// Limits are the limits of an archive. The zero values are useful.
type Limits struct {
	Size    int64 // bytes of the unpacked files, where each hard link counts as a file; 0 is 64 GiB
	Entries int   // with the directories that the archive does not list; 0 is 2^20
	Depth   int   // the directories above a file; 0 is 64, the limit of Nix archives

	// Ratio is the number of unpacked bytes for each byte of the archive, beyond the first 256 MiB; 0 is 500. Source code
	// has less than 20.
	Ratio int64
}

// forArchive returns the limits for an archive of this size in bytes.
func (l Limits) forArchive(size int64) Limits {
	l.Size = cmp.Or(l.Size, 64<<30)
	l.Entries = cmp.Or(l.Entries, 1<<20)
	l.Depth = cmp.Or(l.Depth, 64)
	l.Ratio = cmp.Or(l.Ratio, 500)
	if size < (math.MaxInt64-freeSize)/l.Ratio {
		l.Size = min(l.Size, freeSize+size*l.Ratio)
	}
	return l
}

// freeSize is the unpacked size in bytes that an archive of any size may have.
const freeSize = 256 << 20

// A LimitError reports that an archive exceeds a limit.
type LimitError struct {
	What string // "bytes", "entries" or "nested directories"
	Max  int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the archive has more than %d %s", e.Max, e.What)
}

// ErrFormat reports that a file is not an archive.
var ErrFormat = errors.New("the file is neither a zip archive nor a tar archive, with or without compression by gzip, xz, zstd, bzip2, lzma or lz4")

// File unpacks an archive into root, which should be empty. After an error, root has a part of the files.
func File(ctx context.Context, root *os.Root, archive *os.File, limits Limits) error {
	info, err := archive.Stat()
	if err != nil {
		return err
	}
	u := &unpacker{ctx: ctx, root: root, limits: limits.forArchive(info.Size())}
	src := bufio.NewReaderSize(contextio.NewReader(ctx, archive), 64<<10)
	head, err := src.Peek(blockSize)
	if err != nil && err != io.EOF {
		return err
	}
	if isZip(head) {
		return u.zip(archive, info.Size())
	}
	tarball, err := decompress(src, head)
	if err != nil {
		return err
	}
	return u.tar(tarball)
}

func isZip(head []byte) bool {
	return bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06"))
}

const blockSize = 512 // of tar

// decompress returns the tar archive in src, which begins with head.
func decompress(src *bufio.Reader, head []byte) (io.Reader, error) {
	if isTar(head) {
		return src, nil
	}
	const fallback = "gzip" // Decode prefers the method that the contents show
	decoded, err := compression.Decode(fallback, src, math.MaxUint64)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	inner := bufio.NewReaderSize(decoded, 64<<10)
	head, err = inner.Peek(blockSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if !isTar(head) {
		return nil, ErrFormat
	}
	return inner, nil
}

// isTar reports whether a block is the first one of a tar archive: a header with its checksum, or the end of an empty
// archive.
func isTar(block []byte) bool {
	if len(bytes.Trim(block, "\x00")) == 0 {
		return true
	}
	if len(block) < blockSize {
		return false
	}
	const at, size = 148, 8 // the checksum is computed with spaces in its place
	want, err := strconv.ParseInt(strings.Trim(string(block[at:at+size]), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	unsigned, signed := int64(size*' '), int64(size*' ')
	for i, c := range block[:blockSize] {
		if i < at || i >= at+size {
			unsigned += int64(c)
			signed += int64(int8(c)) // as some old programs compute it
		}
	}
	return want == unsigned || want == signed
}

// An unpacker is the state of a call of File.
type unpacker struct {
	ctx     context.Context
	root    *os.Root
	limits  Limits
	entries int
	written int64 // bytes of files and hard links
}

// tar unpacks a tar archive.
func (u *unpacker) tar(src io.Reader) error {
	// Headers of long names are read without an entry, so the whole stream counts.
	archive := tar.NewReader(&limitedReader{src: src, left: u.limits.Size + int64(u.limits.Entries)*4*blockSize, max: u.limits.Size})
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		m := member{name: header.Name, link: header.Linkname, executable: header.Mode&0o100 != 0}
		switch header.Typeflag {
		case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
			m.kind = file
		case tar.TypeDir:
			m.kind = directory
		case tar.TypeSymlink:
			m.kind = symlink
		case tar.TypeLink:
			m.kind = hardLink
		case tar.TypeXGlobalHeader:
			continue
		default:
			return fmt.Errorf("member '%s': the type %q is not supported", header.Name, header.Typeflag)
		}
		if err := u.add(&m, archive); err != nil {
			return err
		}
	}
}

// maxDirectory is the largest size in bytes of the list of files in a zip archive, which is read into memory. An entry has
// at least 46 bytes there.
const maxDirectory = 64 << 20

// zip unpacks a zip archive.
func (u *unpacker) zip(file io.ReaderAt, size int64) error {
	bounded := &boundedReaderAt{src: file, left: maxDirectory}
	archive, err := zip.NewReader(bounded, size)
	if bounded.left < 0 {
		return &LimitError{"entries", int64(u.limits.Entries)}
	}
	if err != nil {
		return err
	}
	bounded.left = math.MaxInt64
	for _, f := range archive.File {
		if err := u.zipMember(f); err != nil {
			return err
		}
	}
	return nil
}

// zipMember unpacks a file of a zip archive.
func (u *unpacker) zipMember(f *zip.File) error {
	const encrypted = 1
	fail := func(err error) error { return fmt.Errorf("member '%s': %w", f.Name, err) }
	m := member{name: f.Name, executable: f.Mode()&0o100 != 0}
	switch f.Mode().Type() {
	case fs.ModeDir:
		m.kind = directory
		return u.add(&m, nil)
	case fs.ModeSymlink:
		m.kind = symlink
	default: // libarchive has no other types in zip archives
		m.kind = file
	}
	if f.Flags&encrypted != 0 {
		return fail(errors.New("it is encrypted"))
	}
	contents, err := f.Open()
	if err != nil {
		return fail(err)
	}
	defer contents.Close()
	src := contextio.NewReader(u.ctx, contents)
	if m.kind == symlink {
		const maxTarget = 4095 // of Nix archives
		target, err := io.ReadAll(io.LimitReader(src, maxTarget+1))
		if err != nil {
			return fail(err)
		}
		m.link = string(target)
	}
	return u.add(&m, src)
}

// A limitedReader is a reader with a limit.
type limitedReader struct {
	src       io.Reader
	left, max int64
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return 0, &LimitError{"bytes", r.max}
	}
	return n, err
}

// A boundedReaderAt is an io.ReaderAt that fails after a number of bytes.
type boundedReaderAt struct {
	src  io.ReaderAt
	left int64
}

func (r *boundedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if r.left != math.MaxInt64 {
		if r.left -= int64(len(p)); r.left < 0 {
			return 0, errors.New("the list of files is too long")
		}
	}
	return r.src.ReadAt(p, off)
}
