// Package localstore is the embedded store: a store in a directory, as Nix itself keeps it,
// that pix and Nix can both open, and share.
//
// A store is files and a database. The files are the store objects, in the store directory.
// The database says which of them are valid: an object that is not registered is no more
// than the rest of an attempt, whatever is in it. All else follows from that order: an object
// is written and made canonical first, and registered last, in one transaction; and it is
// taken out of the database first, and deleted last.
package localstore
