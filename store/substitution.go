package store

import "pix/storepath"

// A SubstitutableInfo is what a substituter says of a path that it has.
type SubstitutableInfo struct {
	Path         storepath.Path
	Deriver      storepath.Path // "" if unknown
	References   []storepath.Path
	DownloadSize uint64 // in bytes, compressed; 0 if unknown
	NARSize      uint64 // in bytes; 0 if unknown
}

// Missing says what it would take to make paths valid.
type Missing struct {
	WillBuild      []storepath.Path // derivations
	WillSubstitute []storepath.Path
	Unknown        []storepath.Path // neither valid nor to be had

	DownloadSize uint64 // of WillSubstitute together, in bytes, compressed
	NARSize      uint64 // of WillSubstitute together, in bytes
}
