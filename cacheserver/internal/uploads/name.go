package uploads

import "pix/nixhash"

// A Name is the name of an uploaded archive.
type Name struct {
	FileHash nixhash.Hash // SHA-256 of the file
	Ext      string       // the extension of the compression, such as "xz"; "" for none and gzip
}

// methods are the compression methods of the extensions that Nix uses. "" means that the first bytes decide. lzip is
// missing because it cannot be decompressed.
var methods = map[string]string{"": "", "xz": "xz", "bz2": "bzip2", "zst": "zstd", "lz4": "lz4", "br": "br"}
