sleep 20 & p=$!; kill $p; wait $p; echo $?
(exit 6) & wait $!; echo $?
wait 999999; echo $?
sleep 0 & sleep 0 & wait; echo $?
