package store

import (
	"bytes"
	"strings"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// ImportText returns a text file as an object for [AddMultiple], with the path that [AddText]
// computes in a store with directory dir. The error is a [*storepath.Error] for an invalid name or
// reference.
func ImportText(dir storepath.Dir, name, contents string, references []storepath.Path) (Import, error) {
	hash := nixhash.Sum(nixhash.SHA256, []byte(contents))
	path, err := dir.TextPath(name, hash, references)
	if err != nil {
		return Import{}, err
	}
	return importTextAt(path, hash, contents, references)
}

// importTextAt is ImportText with the computed path and the SHA-256 of the contents.
func importTextAt(path storepath.Path, hash nixhash.Hash, contents string, references []storepath.Path) (Import, error) {
	ca, err := storepath.NewContentAddress(storepath.Text, hash)
	if err != nil {
		return Import{}, err
	}
	var archive bytes.Buffer
	archive.Grow(len(contents) + 256)
	if err := nar.WriteFile(&archive, strings.NewReader(contents), uint64(len(contents))); err != nil {
		return Import{}, err
	}
	info := &PathInfo{
		Path: path, References: derivation.SetOf(references...).Slice(), CA: ca,
		NARHash: nixhash.Sum(nixhash.SHA256, archive.Bytes()), NARSize: uint64(archive.Len()),
	}
	return Import{Info: info, NAR: bytes.NewReader(archive.Bytes())}, nil
}
