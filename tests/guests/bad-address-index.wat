;; Names its first candidate, but address 9999 of it. The host must refuse the answer.
;; It wants a gateway in the mesh: a subject without candidates goes direct.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described (i32.const 0) (i32.const 0) (global.get $reach=all)))

(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (local $subject i32) (local $target i32)
  (local.set $subject (call $subject (local.get $batch) (local.get $index)))
  (call $put-choice (local.get $decision) (global.get $choice=direct))
  (if (call $candidate-count (local.get $subject))
    (then
      (local.set $target
        (call $put-waypoint (local.get $decision) (call $candidate (local.get $subject) (i32.const 0))))
      (i32.store8 (i32.add (local.get $target) (global.get $target.address)) (i32.const 1))
      (i32.store (i32.add (local.get $target) (global.get $target.address:payload)) (i32.const 9999)))))
