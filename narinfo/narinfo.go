package narinfo

import (
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A NarInfo is what a binary cache says of a store object. Of the path info, registration
// time and ultimate are never in a file.
type NarInfo struct {
	store.PathInfo

	// URL says where the archive is, relative to the cache.
	URL string

	// Compression is that of the archive: "xz", "zstd", "none", … Without it a file means
	// "bzip2", which is then what is here.
	Compression string

	FileHash nixhash.Hash // of the archive as it is stored; zero if unknown
	FileSize uint64       // of the archive as it is stored, in bytes; 0 if unknown

	// Unknown are the lines with other keys, in their order.
	Unknown []Field
}

// A Field is a line of a file.
type Field struct {
	Key, Value string
}

// New returns a narinfo for an archive whose place is [ArchiveURL].
func New(info *store.PathInfo, compression string, fileHash nixhash.Hash, fileSize uint64) *NarInfo {
	return &NarInfo{
		PathInfo:    *info,
		URL:         ArchiveURL(fileHash, compression),
		Compression: compression,
		FileHash:    fileHash,
		FileSize:    fileSize,
	}
}

// FileName returns where a cache has the narinfo of p: "<hash part>.narinfo".
func FileName(p storepath.Path) string { return p.HashPart() + ".narinfo" }

// extensions are those of the files in which Nix puts archives, by their compression.
var extensions = map[string]string{
	"xz":    ".xz",
	"bzip2": ".bz2",
	"zstd":  ".zst",
	"lzip":  ".lzip",
	"lz4":   ".lz4",
	"br":    ".br",
}

// ArchiveURL returns where Nix puts an archive in a cache: "nar/<hash>.nar.xz" for a file
// of that hash, if it is compressed so.
func ArchiveURL(fileHash nixhash.Hash, compression string) string {
	return "nar/" + fileHash.Nix32() + ".nar" + extensions[compression]
}
