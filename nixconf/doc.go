// Package nixconf reads nix.conf, the configuration of Nix.
//
// A line of a file is NAME = VALUE; a # starts a comment. A line "include FILE" includes another file, and
// "!include FILE" does so if the file exists. The name extra-NAME appends to a list instead of replacing it.
// Later lines override earlier ones.
//
//	trusted-users = root @wheel
//	extra-trusted-public-keys = cache.example.org-1:…
//	!include local.conf
//
// Nix reads the configuration file of the system, the files of the user, and the variable NIX_CONFIG, in this
// order. [Load] does the same. The table [Settings] has the type and the default of each setting, who may set
// it, and which package implements it or why pix does not. A [Conf] has the values of all settings with their
// origins, in the format in which Nix prints them. A [Reader] returns them as Go values. Most defaults are the
// same as in Nix. There are no substituters by default, because pix uses the network only on request.
//
// Sources: src/libutil/configuration.cc and src/libstore/globals.cc in Nix 2.34.
package nixconf
