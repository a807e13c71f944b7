// Package narinfo reads and writes narinfo files, with which a binary cache describes store
// objects.
//
// A binary cache is a directory, usually behind an HTTP server. It has two files for each object:
// the compressed archive, and a text that describes the object and locates the archive. The text is
// named after the hash part of the object's path ([FileName]):
//
//	StorePath: /nix/store/n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
//	URL: nar/1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3.nar.xz
//	Compression: xz
//	FileHash: sha256:1w1fff338fvdw53sqgamddn1b2xgds473pv6y13gizdbqjv4i5p3
//	FileSize: 4029176
//	NarHash: sha256:09ymwqf5i9q7d4dm7x4pjjcqqj0qrcp5lnznbh42gfsci5hcbqqm
//	NarSize: 34878
//	References: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar n5wkd9frr45pa74if5gpz9j7mifg27fh-foo
//	Deriver: g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-bar.drv
//	Sig: cache.example.org-1:WsjxK4/EI74COtzM…
//	CA: fixed:r:sha256:1lr187v6dck1rjh2j6svpikcfz53wyl3qrlcbb405zlh13x0khhh
//
// A [NarInfo] is a [store.PathInfo] and the location of the archive. Signatures cover only the path
// info ([store.PathInfo.Fingerprint]): a cache may compress the archive again, but it cannot change
// the contents.
//
// [Parse] accepts what Nix 2.34 accepts, with the same meaning. That meaning is sometimes odd: if a
// line has no value, the next line becomes its value. [Options.Lenient] accepts more formatting (such
// lines, blank lines, carriage returns, no line feed at the end), but no other content. Unknown keys
// are kept and printed again.
//
// In JSON, a narinfo is a path info with four more members: [NarInfo.JSON], [ParseJSON].
//
// Source: src/libstore/nar-info.cc in Nix, and "Nix Archive Info" in its manual.
package narinfo
