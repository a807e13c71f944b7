// Package binarycache reads and writes binary caches, from which most objects in Nix stores are
// downloaded.
//
// A binary cache is a directory of files, usually served over HTTP:
//
//	nix-cache-info                          the store directory of the cache, and its priority
//	n5wkd9frr45pa74if5gpz9j7mifg27fh.narinfo  the info of a path, by its hash part
//	nar/1w1fff338fvdw53sq….nar.zst          the compressed archive, by the hash of this file
//	n5wkd9frr45pa74if5gpz9j7mifg27fh.ls     the listing of the archive
//	log/g1w7hy3qg1w7hy3q…-bar.drv           the log of a build
//	realisations/sha256:ba78…!out.doi       the path of an output, for Nix up to 2.34
//	build-trace-v2/g1w7…-a.drv/out.doi      the same, for Nix from 2.35 on
//
// Any web server can serve one. [Open] returns a [Store], which is a [store.Store]:
// [store.Closure] requests many narinfos at once, and [store.Copy] copies a package with its
// closure to another store, or into a cache. A cache behind HTTP is written with PUT requests, which the server
// must support.
//
// # Trust
//
// A cache does not have to be trusted. Its narinfos contain signatures, and the store that
// copies a path checks them: it refuses paths without a signature by a trusted key
// ([store.PathInfo.CheckSignatures]). The signature covers the hash of the archive, which is
// verified while the archive is read ([Store.NARFromPath]). A cache may also send data without
// end, send nothing, or break off. Limits and timeouts keep a program from running out of memory
// or waiting forever ([HTTPOptions]).
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
// Archives may be compressed with xz, zstd, bzip2, gzip, lzma, lz4 or brotli, or not at all. The other
// methods that Nix reads are an error. New archives are compressed with zstd, where Nix uses xz: zstd is
// many times as fast in both directions, and every Nix since 2.4 reads it. [Options.Compression] and
// "?compression=" in a URI select another method.
//
// # Reading order
//
//   - uri.go, options.go and cacheinfo.go open a cache, and store.go answers queries; narinfocache.go caches narinfos.
//   - archive.go reads and verifies an archive, and verify.go a whole cache.
//   - add.go, addmultiple.go and addcontents.go add objects, and listrealisations.go lists realisations.
//   - realisation.go and otherfiles.go read and write the other files of a cache: realisations, listings and logs.
//   - directory.go accesses the files of a directory. remote.go sends requests by HTTP, download.go resumes broken
//     downloads, and large.go has the connections of large archives. upload.go and exchange.go send files, multipart.go
//     sends them to S3, and s3answer.go recognises its errors. width.go adapts the number of requests, and retry.go
//     decides when to retry. login.go chooses logins, and netrc.go reads them.
//
// Sources: src/libstore/binary-cache-store.cc, local-binary-cache-store.cc,
// http-binary-cache-store.cc and filetransfer.cc in Nix 2.34.
package binarycache
