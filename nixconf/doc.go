// Package nixconf reads nix.conf, the configuration of Nix.
//
// A line of a file is NAME = VALUE; a # starts a comment. A line "include FILE" reads another file in its
// place, and "!include FILE" does so if the file exists. The name extra-NAME adds to a list instead of
// replacing it. Later lines overrule earlier ones.
//
//	trusted-users = root @wheel
//	extra-trusted-public-keys = cache.example.org-1:…
//	!include local.conf
//
// Nix reads the file of the system, then those of the user, then the variable NIX_CONFIG; so does
// [Load]. One table ([Settings]) has the type and the default of each setting, who may set it, and which package obeys
// it or why pix does not. A [Conf] has the values of all settings, with their origins, in the form in which
// Nix prints them. A [Reader] reads them as Go values. Most defaults are the same as in Nix. By default there
// are no substituters, because pix does not use the network unasked.
//
// Sources: src/libutil/configuration.cc and src/libstore/globals.cc in Nix 2.34.
package nixconf
