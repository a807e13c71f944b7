// Package canonical gives the files that a builder has made the metadata of store objects.
//
// A store object has no owners, times or permissions of its own: everything belongs to the owner of the store, files have
// mode 0444 or 0555, directories 0555, the modification time is one second after 1970, and there are no extended
// attributes. So equal objects are equal on every machine, and only the owner of the store can change them.
//
// # Hazards
//
// A builder is not trusted, and its tree is not either:
//
//   - A file may be a hard link to one outside the tree, such as /etc/shadow, which must not become readable. So each
//     file must belong to the user of the build. A file with several names in the tree is met more than once, and belongs to
//     the owner of the store the second time; these are remembered, for all outputs of a build, because hard links
//     between outputs are allowed.
//   - A name may be replaced by a symlink between two calls. So everything is done relative to the descriptor of the
//     directory, and never through a symlink. A directory is taken from the builder before its names are read.
//   - A fifo, socket or device is no store object. Opening one could block for ever, so nothing but directories is
//     opened.
//   - A tree may be so deep that no archive can hold it, and that it exhausts the descriptors of the process.
//
// The processes of the build have ended before. A descriptor that they have passed to another process can still write to
// a file: the builder copies outputs for which that is possible.
//
// Source: src/libstore/posix-fs-canonicalise.cc in Nix.
package canonical
