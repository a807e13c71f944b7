// Package activebuilds records which builds of a store run, for other processes.
//
// Each build has a locked file in the directory active-builds of the state directory, as with Determinate Nix: its text
// is the JSON of [store.ActiveBuild]. The lock ends with the process that runs the build. So the file of a process that
// was killed is not locked, and the next reader deletes it.
package activebuilds
