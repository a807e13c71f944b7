// Package cacheserver serves stores as a binary cache by HTTP, from which every version of Nix can copy.
//
// A [Handler] is an [http.Handler] over any [store.Store]. It answers GET and HEAD requests for the files of a cache:
//
//	nix-cache-info                          the store directory, and the priority of the cache
//	n5wkd9frr45pa74if5gpz9j7mifg27fh.narinfo  the info of a path, by its hash part
//	nar/n5wkd9fr…-1w1fff338fvdw53s….nar       the archive with that hash of the object with that hash part
//
// Each narinfo has the signatures that are in the store. [Options.Keys] add signatures only to paths for which the store
// vouches, so an unsigned path does not become trusted because it was served.
//
// An archive is verified while it is sent. If the object has changed, the response ends with a reset connection, and never
// like a complete one. The URL of an archive has the hash of the archive, so it returns this archive or nothing.
//
// Reading order: name.go parses the paths of requests, handler.go answers them. narinfo.go and sign.go make narinfos,
// archive.go and sender.go send archives, and range.go and precondition.go implement the parts of HTTP that these need.
//
// Source of the files and their names: src/libstore/binary-cache-store.cc in Nix.
package cacheserver
