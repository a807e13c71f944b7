// Package narinfo knows the small files by which a binary cache describes store objects.
//
// A binary cache is a directory, mostly behind HTTP, in which each object has two files: its
// archive, compressed, and a text named after the hash part of its path ([FileName]),
// which says what the archive is and where:
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
// So a [NarInfo] is a [store.PathInfo] and where the archive is. Signatures are over the
// path info alone ([store.PathInfo.Fingerprint]): whoever runs a cache may compress
// anew, but not change what comes out.
//
// [Parse] takes what Nix 2.34 takes, with the meaning that it has for Nix, which is odd at
// times: a line without a value swallows the next. [Options.Lenient] forgives how a file
// is written (such lines, blank ones, carriage returns, no line feed at the end), but
// never what it says. Keys that Nix does not know are kept, and printed again.
//
// There is a form in JSON too, which is that of the path info and four members more:
// [NarInfo.JSON], [ParseJSON].
//
// Source: src/libstore/nar-info.cc in Nix, and "Nix Archive Info" in its manual.
package narinfo
