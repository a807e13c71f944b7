package explain

import (
	"bytes"
	"fmt"
	"io"
	"strconv"

	"pix/nar"
	"pix/nixhash"
)

// The limits of the explanation of an archive.
const (
	maxArchiveText  = 1 << 20 // bytes of an archive that an explanation contains
	maxArchiveFiles = 10_000  // files of an archive that are listed
	maxArchiveNames = 4 << 20 // bytes of their names and targets
)

// NAR explains the hash of the archive in src: its files with the offsets of their contents, and the hash of its bytes. It reads
// the archive to the end, checks it, and keeps at most 1 MiB of it. The error is a [*nar.Error].
func NAR(subject string, src io.Reader) (*Explanation, error) {
	hasher := nar.NewHasher(nixhash.SHA256)
	kept := &limitedBuffer{limit: maxArchiveText}
	r := nar.NewReader(io.TeeReader(onlyReader{src}, io.MultiWriter(hasher, kept)))
	files, err := archiveFiles(r)
	if err != nil {
		return nil, err
	}
	if hasher.Size() != uint64(r.Offset()) { // the reader may have read ahead
		return nil, &nar.Error{Offset: r.Offset(), Reason: "there are bytes after the end of the archive"}
	}
	e := &Explanation{Subject: subject, Kind: "archive"}
	e.add(Step{
		Name: StepFiles, Op: OpShow, Inputs: files, Title: "The files in the archive",
		Why: "An archive is a sequence of words, each with its length as 64 bits, lowest byte first, and zeros up to a multiple of eight bytes. " +
			"Files come in the order of the bytes of their names, without times, owners and modes except executable.",
	})
	size := Input{Name: "bytes", Value: strconv.FormatUint(hasher.Size(), 10)}
	s := Step{
		Name: StepArchive, Op: HashOp(nixhash.SHA256), Text: kept.String(), Title: "The hash of the archive",
		Why: "The NAR hash is the hash of all bytes of the archive.", Inputs: []Input{size},
	}
	if kept.full {
		s.Op, s.Text = OpJoin, hasher.Hash().Base16()
		s.Inputs[0].Note = "the archive is too long for this explanation"
	}
	digest := e.add(s)
	e.add(Step{
		Name: StepBase32, Op: OpNix32, Text: e.Steps[digest-1].Result, Inputs: []Input{e.from("SHA-256", digest)}, Title: "In base 32",
		Why: "In narinfo files and signed texts, the NAR hash is written in base 32.",
	})
	return e, nil
}

// archiveFiles reads an archive and returns its files, each with its kind, its size and where its contents begin.
func archiveFiles(r *nar.Reader) (files []Input, err error) {
	more, size := 0, 0
	for entry, err := range r.All() {
		if err != nil {
			return nil, err
		}
		if len(files) == maxArchiveFiles || size >= maxArchiveNames {
			more++
			continue
		}
		file := Input{Name: "/" + r.Path(), Value: entryText(entry), contents: [2]int64{int64(entry.Offset), int64(entry.Offset) + int64(entry.Size)}}
		size += len(file.Name) + len(file.Value)
		files = append(files, file)
	}
	if more > 0 {
		files = append(files, Input{Name: "more files", Value: strconv.Itoa(more)})
	}
	return files, nil
}

// entryText describes a file of an archive.
func entryText(e nar.Entry) string {
	switch e.Kind {
	case nar.Directory:
		return "directory"
	case nar.Symlink:
		return "symlink to " + e.Target
	case nar.Regular:
	}
	kind := "file"
	if e.Executable {
		kind = "executable file"
	}
	return fmt.Sprintf("%s of %d bytes at offset %#x", kind, e.Size, e.Offset)
}

// onlyReader hides other methods of a reader, so that contents are read and not skipped by a seek.
type onlyReader struct{ io.Reader }

// A limitedBuffer keeps the written bytes, unless there are more than the limit.
type limitedBuffer struct {
	bytes.Buffer
	limit int
	full  bool
}

// Write implements [io.Writer].
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.full = b.full || b.Len()+len(p) > b.limit; b.full {
		b.Reset()
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
