;; Declares reads that lie behind the end of its memory. The host must refuse the description as unreadable.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described (i32.const 0xfffffff0) (i32.const 1000000) (global.get $reach=referenced)))
