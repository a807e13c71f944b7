package narinfo

import (
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A NarInfo is the description of a store object in a binary cache. Files do not contain the
// registration time and the ultimate flag of the path info.
type NarInfo struct {
	store.PathInfo

	// URL is the location of the archive, relative to the cache.
	URL string

	// Compression is the compression of the archive: "xz", "zstd", "none", … If a file does not
	// contain it, it is "bzip2".
	Compression string

	FileHash nixhash.Hash // hash of the compressed archive; zero if unknown
	FileSize uint64       // size of the compressed archive in bytes; 0 if unknown

	// Unknown are the lines with unknown keys, in order.
	Unknown []Field
}

// A Field is a line of a file.
type Field struct {
	Key, Value string
}

// New returns a narinfo for an archive at [ArchiveURL].
func New(info *store.PathInfo, compression string, fileHash nixhash.Hash, fileSize uint64) *NarInfo {
	return &NarInfo{
		PathInfo:    *info,
		URL:         ArchiveURL(fileHash, compression),
		Compression: compression,
		FileHash:    fileHash,
		FileSize:    fileSize,
	}
}

// FileName returns the name of the narinfo file of p, "<hash part>.narinfo".
func FileName(p storepath.Path) string { return p.HashPart() + ".narinfo" }

// extensions are Nix's file name extensions for compressed archives.
var extensions = map[string]string{
	"xz":    ".xz",
	"bzip2": ".bz2",
	"zstd":  ".zst",
	"lzip":  ".lzip",
	"lz4":   ".lz4",
	"br":    ".br",
}

// ArchiveURL returns the location at which Nix stores the archive with that hash and compression in a
// cache, such as "nar/<hash>.nar.xz".
func ArchiveURL(fileHash nixhash.Hash, compression string) string {
	return "nar/" + fileHash.Nix32() + ".nar" + extensions[compression]
}
