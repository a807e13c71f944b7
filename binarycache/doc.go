// Package binarycache knows binary caches, from which most of what is in most Nix stores
// has come.
//
// A binary cache is a directory of files, mostly behind HTTP:
//
//	nix-cache-info                          which store directory it is for
//	n5wkd9frr45pa74if5gpz9j7mifg27fh.narinfo  what it knows of a path, by its hash part
//	nar/1w1fff338fvdw53sq….nar.zst          the archive, compressed, by the hash of this file
//	n5wkd9frr45pa74if5gpz9j7mifg27fh.ls     what is in the archive
//	log/g1w7hy3qg1w7hy3q…-bar.drv           the log of a build
//	realisations/sha256:ba78…!out.doi       which path an output has got, for Nix up to 2.34
//	build-trace-v2/g1w7…-a.drv/out.doi      the same, for Nix from 2.35 on
//
// That is all: any web server is one. [Open] makes a [Store] of it, which is a
// [store.Store] like all others: [store.Closure] asks it for many narinfos at once,
// [store.Copy] brings a package with all that it needs from there into another store, or
// into the cache, if it is a directory. Behind HTTP a cache is only read.
//
// # Whom to believe
//
// Nobody need believe a cache. Its narinfos say who has signed a path, and whoever takes
// the path looks at that: stores take nothing into their care without the signature of a
// key that they trust ([store.PathInfo.CheckSignatures]). What is signed has the hash of the
// archive, and archives are verified while they are read ([Store.NARFromPath]). So a cache
// may lie, but nobody falls for it. It may also send without end, or nothing at all, or
// break off: nothing of that makes a program grow or wait for ever ([HTTPOptions]).
//
// # Passwords
//
// A cache may require a login, from its URL or from a netrc file ([HTTPOptions]). A server can send the
// store to another host, by a redirect or by the URL of an archive in a narinfo. So each request gets
// only the login for its own URL and host, and none from an earlier request. No login is sent by HTTP
// after HTTPS. A host that a server has named gets no default entry of the netrc file and no incomplete
// one; curl and Nix send these.
//
// # Compression
//
// Archives may be compressed with xz, zstd, bzip2, gzip, lzma, lz4 or brotli, or not at all. The other methods
// that Nix reads are an error. Archives are added with
// zstd, where Nix takes xz: it is many times as fast in both directions, and every Nix since
// 2.4 reads it. [Options.Compression] chooses, and "?compression=" in a URI.
//
// # Reading order
//
//   - uri.go, options.go and cacheinfo.go open a cache, and store.go answers queries; memory.go remembers narinfos.
//   - archive.go reads and verifies an archive, and verify.go a whole cache.
//   - add.go, many.go and contents.go add objects.
//   - realisation.go and beside.go read and write the other files of a cache: realisations, listings and logs.
//   - directory.go has the files of a directory. remote.go requests files by HTTP, download.go resumes broken
//     downloads, and patience.go retries. login.go has the logins, and netrc.go reads them.
//
// Sources: src/libstore/binary-cache-store.cc, local-binary-cache-store.cc,
// http-binary-cache-store.cc and filetransfer.cc in Nix 2.34.
package binarycache
