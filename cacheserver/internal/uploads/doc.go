// Package uploads keeps the archives that clients upload to a binary cache until the narinfos arrive that describe them.
//
// Nix uploads an archive before its narinfo, so the server has to store bytes about which it knows only a name: the hash
// of the compressed file. [Spool.Receive] checks everything that can be checked without the narinfo. The hash must be the
// name, and the decompressed contents must be exactly one archive, within limits of size and ratio. So a narinfo needs
// only to be compared with the results.
//
// An archive is received to the disk first, and decompressed afterwards. So a slow client holds a file and no
// decompressor, which may need 128 MiB.
//
// The files are temporary. They are deleted after the last narinfo for them, after a time, when the spool is closed, and
// when the next process opens the directory after this one was killed.
package uploads
