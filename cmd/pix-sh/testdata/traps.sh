trap 'echo usr $?' USR1; kill -USR1 $$; echo after
trap '' TERM; sh -c 'kill -TERM $$; echo ignored'
trap 'echo bye $?' EXIT
(trap 'echo inner' EXIT; exit 2); echo $?
exit 9
