package cacheserver

import (
	"net/url"
	"strings"

	"pix/nixbase32"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A kind is a kind of file in a binary cache.
type kind uint8

const (
	kindNone        kind = iota // no file of a cache
	kindStart                   // the start page
	kindHealth                  // /health
	kindCacheInfo               // nix-cache-info
	kindNarInfo                 // HASH.narinfo
	kindArchive                 // nar/…
	kindListing                 // HASH.ls
	kindLog                     // log/DERIVATION
	kindRealisation             // realisations/sha256:HASH!OUTPUT.doi
	kindTrace                   // build-trace-v2/DERIVATION/OUTPUT.doi
	kindFiles                   // serve/HASH/…
	kindDebugInfo               // debuginfo/BUILDID.debug, which this server does not have
)

// maxNameLen is the maximum length in bytes of the path of a request. The longest path of an object has 64 names of 255
// bytes, each byte as %xx. Only [kindFiles] can be as long.
const maxNameLen = 64 << 10

// A name is the parsed path of a request.
type name struct {
	kind     kind
	hashPart string // of a narinfo, a listing, an object in [kindFiles], and of archives that this server names

	// For an archive. hash is the hash of the archive itself if there is a hashPart, and otherwise the hash of the
	// file. compression is the extension of the name: "" is none.
	hash        nixhash.Hash
	compression string

	drv    string          // the base name of the derivation of a log, or of a realisation in build-trace-v2
	output store.DrvOutput // a realisation; Path is not set

	inside []string // the names that lead to a file in an object
}

// parseName parses the escaped path of a request, which begins with a slash. The kind of the result is [kindNone] if it
// is not the path of a file of a cache. Each file has exactly one path, up to escaping: "//", "." and ".." are in none.
func parseName(escaped string) name {
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok || len(rest) > maxNameLen {
		return name{}
	}
	if rest == "" {
		return name{kind: kindStart}
	}
	parts := strings.Split(rest, "/")
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		isLastOfDir := decoded == "" && i == len(parts)-1 && parts[0] == "serve"
		if err != nil || !isLastOfDir && !isFileName(decoded) {
			return name{}
		}
		parts[i] = decoded
	}
	return nameOf(parts)
}

// isFileName reports whether a part of a path can be the name of a file.
func isFileName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

// nameOf returns the name with these parts.
func nameOf(parts []string) name {
	switch first := parts[0]; {
	case len(parts) == 1:
		return topName(first)
	case first == "nar" && len(parts) == 2:
		return archiveName(parts[1])
	case first == "log" && len(parts) == 2:
		return name{kind: kindLog, drv: parts[1]}
	case first == "debuginfo" && len(parts) == 2:
		return name{kind: kindDebugInfo}
	case first == "realisations" && len(parts) == 2:
		return realisationName(parts[1])
	case first == "build-trace-v2" && len(parts) == 3:
		return traceName(parts[1], parts[2])
	case first == "serve" && isHashPart(parts[1]):
		return name{kind: kindFiles, hashPart: parts[1], inside: parts[2:]}
	}
	return name{}
}

// topName returns the name of a file in the root directory of a cache.
func topName(s string) name {
	switch s {
	case "nix-cache-info":
		return name{kind: kindCacheInfo}
	case "health":
		return name{kind: kindHealth}
	}
	if hashPart, ok := strings.CutSuffix(s, ".narinfo"); ok && isHashPart(hashPart) {
		return name{kind: kindNarInfo, hashPart: hashPart}
	}
	if hashPart, ok := strings.CutSuffix(s, ".ls"); ok && isHashPart(hashPart) {
		return name{kind: kindListing, hashPart: hashPart}
	}
	return name{}
}

func isHashPart(s string) bool {
	return len(s) == storepath.HashPartLen && nixbase32.IsDigits(s)
}

// archiveURL returns the URL of an archive, relative to the cache. It has the hash of the archive: if another object has
// taken the place of the object since the narinfo was sent, the URL must not return the other archive.
func archiveURL(info *store.PathInfo, compression string) string {
	url := "nar/" + info.Path.HashPart() + "-" + info.NARHash.Nix32() + ".nar"
	if compression != "" {
		url += "." + compression
	}
	return url
}

// archiveName parses the name of an archive in nar/: HASHPART-NARHASH.nar as [archiveURL] returns it, or FILEHASH.nar, with
// an extension if it is compressed.
func archiveName(s string) name {
	base, extension, ok := strings.Cut(s, ".nar")
	if !ok || extension != "" && (len(extension) < 2 || extension[0] != '.') {
		return name{}
	}
	hashPart, digest, ok := strings.Cut(base, "-")
	if !ok {
		hashPart, digest = "", base
	} else if !isHashPart(hashPart) {
		return name{}
	}
	const digits = 52 // of a SHA-256
	if len(digest) != digits || !nixbase32.IsDigits(digest) {
		return name{}
	}
	hash, err := nixhash.ParseUnprefixed(digest, nixhash.SHA256)
	if err != nil {
		return name{}
	}
	return name{kind: kindArchive, hashPart: hashPart, hash: hash, compression: strings.TrimPrefix(extension, ".")}
}

// realisationName parses the name of a realisation for Nix up to 2.34.
func realisationName(s string) name {
	text, ok := strings.CutSuffix(s, ".doi")
	if !ok {
		return name{}
	}
	id, err := store.ParseHashID(text)
	if err != nil || id.HashID() != text || storepath.CheckName(id.Output) != nil {
		return name{}
	}
	return name{kind: kindRealisation, output: id}
}

// traceName parses the name of a realisation for Nix from 2.35 on.
func traceName(drv, file string) name {
	output, ok := strings.CutSuffix(file, ".doi")
	if !ok || storepath.CheckName(output) != nil {
		return name{}
	}
	return name{kind: kindTrace, drv: drv, output: store.DrvOutput{Output: output}}
}
