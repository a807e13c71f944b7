// Package cacheserver serves stores as a binary cache by HTTP, from which every version of Nix can copy.
//
// A [Handler] is an [http.Handler] over any [store.Store]. It answers GET and HEAD requests for the files of a cache:
//
//	nix-cache-info                          the store directory, and the priority of the cache
//	n5wkd9frr45pa74if5gpz9j7mifg27fh.narinfo  the info of a path, by its hash part
//	nar/n5wkd9fr…-1w1fff338fvdw53s….nar       the archive with that hash of the object with that hash part
//	nar/n5wkd9fr…-1w1fff338fvdw53s….nar.zst   the same, compressed
//	n5wkd9frr45pa74if5gpz9j7mifg27fh.ls       the listing of the archive
//	log/g1w7hy3qg1w7hy3q…-bar.drv             the log of a build
//	realisations/sha256:ba78…!out.doi         the path of an output, for Nix up to 2.34
//	build-trace-v2/g1w7…-a.drv/out.doi        the same, for Nix from 2.35 on
//	serve/n5wkd9fr…/bin/foo                   a file in an object, for browsers
//	health                                    whether the stores answer, for monitors
//
// # Trust
//
// Each narinfo has the signatures that are in the store. [Options.Keys] add signatures only to paths for which the store
// vouches, so an unsigned path does not become trusted because it was served.
//
// An archive is verified while it is sent. If the object has changed, the response ends with a reset connection, and never
// like a complete one. The URL of an archive has the hash of the archive, so it returns this archive or nothing. Parts of an archive,
// and files in objects, are not verified: a client that puts the parts together compares the hash.
//
// # Uploads
//
// With [Options.Uploads], the handler accepts PUT requests as Nix sends them. An archive is verified before anything else uses it,
// and waits in package uploads until its narinfo arrives, which is compared with it. An object needs a signature by a trusted key,
// a content address, or a trusted uploader. Nothing that a client sends is believed if it can be computed, and nothing that a store
// has is replaced. Below /upload, only the store that gets the uploads is served. Uploaded paths, and paths that an uploader finds
// there, are protected from collectors for at least ten minutes. After that they need roots of their own.
//
// # Upstream caches
//
// An [Upstream] is a store that fetches from another cache what a trusted key has signed. Serve it after the other stores. With
// [Options.AddFetched], the handler adds what clients fetch from it to the first store.
//
// # Limits
//
// A response must make progress (Options.StallTimeout), and few archives are sent or compressed at a time
// (Options.MaxArchives, Options.MaxEncoders). The [http.Server] limits the rest: set its ReadHeaderTimeout, IdleTimeout and
// MaxHeaderBytes.
//
// # Reading order
//
//   - name.go parses the paths of requests, and handler.go answers them. access.go checks tokens, limits.go has the places for which
//     requests wait, and response.go the deadlines of clients.
//   - cacheinfo.go, narinfo.go, listing.go, log.go and realisation.go make the small files, which content.go and encoding.go send.
//     sign.go signs, and narinfotexts.go keeps narinfos.
//   - archive.go and sender.go send archives; range.go and precondition.go implement the parts of HTTP that they need.
//     compressed.go sends compressed archives from the directory in compressedfiles.go.
//   - keptfiles.go has the files in a directory of limited size, and growingfile.go a file that is sent while it is written.
//   - put.go accepts uploads: uploadoptions.go has the uploaders, putbody.go reads bodies, putnarinfo.go adds objects, putfiles.go is for
//     the other files. namelocks.go orders uploads of one name, and sessions.go protects uploaded paths from collectors.
//   - upstream.go fetches from other caches, which upstreamsource.go opens. upstreamarchive.go opens archives, with the readers in
//     upstreamreaders.go. fetchedfiles.go keeps archives, also for partfiles.go without a directory, and fetchedinfos.go keeps their
//     infos. addfetched.go adds paths to a store, from the closures in additionsource.go.
//   - start.go and files.go are for browsers, health.go and events.go for operators.
//
// Source of the files and their names: src/libstore/binary-cache-store.cc in Nix.
package cacheserver
