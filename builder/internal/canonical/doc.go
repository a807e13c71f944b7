// Package canonical sets the metadata of the files of a builder to the metadata of store objects.
//
// A store object has no owners, times or permissions of its own: everything belongs to the owner of the store, files
// have mode 0444 or 0555, directories 0555, the modification time is one second after 1970, and there are no extended
// attributes. So objects with equal contents are equal on all machines, and only the owner of the store can change
// them.
//
// # Hazards
//
// A builder is not trusted, and neither is its tree:
//
//   - A file may be a hard link to a file outside the tree, such as /etc/shadow, which must not become readable. So
//     each file must belong to the user of the build. A file with several names in the tree belongs to the owner of
//     the store after its first name is canonical. Such files are remembered for all outputs of a build, because hard
//     links between outputs are allowed.
//   - Another process may replace a name by a symlink between two system calls. So all calls are relative to the
//     descriptor of the directory, and do not follow symlinks. A directory changes its owner before its names are
//     read, so the builder can no longer change them.
//   - A fifo, socket or device is not a store object. Opening one could block forever, so only directories are
//     opened.
//   - A tree may be deeper than an archive allows, and could use up the descriptors of the process.
//
// The processes of the build have ended. A process outside may still have a descriptor from them, with which it can
// write to a file. Package builder copies the outputs for which that is possible.
//
// Source: src/libstore/posix-fs-canonicalise.cc in Nix.
package canonical
