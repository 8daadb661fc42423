;; Gives 8192 decisions, however many are asked for, whose targets are all one list of 4096: half a MiB here,
;; 512 MiB once lifted. The host must stop lifting and name the limit on its own side of a call.
(func $resolve (param $batch i32) (result i32)
  (local $targets i32) (local $decisions i32) (local $index i32)
  (local.set $targets (call $new (i32.mul (i32.const 4096) (global.get $target:size))))
  (local.set $decisions (call $new (i32.mul (i32.const 8192) (global.get $decision:size))))
  (loop $next
    (call $put-waypoints
      (i32.add (local.get $decisions) (i32.mul (local.get $index) (global.get $decision:size)))
      (local.get $targets) (i32.const 4096))
    (local.set $index (i32.add (local.get $index) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $index) (i32.const 8192))))
  (call $resolved (local.get $decisions) (i32.const 8192)))
